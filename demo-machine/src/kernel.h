/*
 * The types and variables of the demo machine's kernel: of those of FreeBSD
 * 15.1 the ones that memtool reads, in the kernel's own words and order.
 */

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef long int64_t;
typedef unsigned long uintptr_t;
typedef unsigned long size_t;
typedef long time_t;
typedef long sbintime_t;
typedef unsigned int uid_t;
typedef unsigned int gid_t;
typedef signed char int8_t;
typedef short int16_t;
typedef int pid_t;
typedef int lwpid_t;
typedef unsigned long vm_offset_t;
typedef unsigned long vm_size_t;
typedef unsigned long vm_paddr_t;
typedef unsigned long vm_pindex_t;
typedef unsigned long vm_ooffset_t;
typedef long segsz_t;
typedef uint64_t *counter_u64_t;

/* sys/_lock.h, sys/mutex.h, sys/sx.h, sys/lockmgr.h */
struct lock_object {
	const char *lo_name;
	unsigned int lo_flags;
	unsigned int lo_data;
	struct witness *lo_witness;
};
struct mtx {
	struct lock_object lock_object;
	volatile uintptr_t mtx_lock;
};
struct sx {
	struct lock_object lock_object;
	volatile uintptr_t sx_lock;
};
struct rwlock {
	struct lock_object lock_object;
	volatile uintptr_t rw_lock;
};
struct lock {
	struct lock_object lock_object;
	volatile uintptr_t lk_lock;
	unsigned int lk_exslpfail;
	int lk_timo;
	int lk_pri;
};
struct lock_class {
	const char *lc_name;
	unsigned int lc_flags;
};
extern struct lock_class *lock_classes[16];
extern struct mtx Giant;
extern struct sx allproc_lock;
static struct mtx demo_mtx;

/* sys/time.h, sys/kern/kern_tc.c */
struct timeval {
	time_t tv_sec;
	long tv_usec;
};
struct bintime {
	time_t sec;
	uint64_t frac;
};
struct timecounter {
	uint64_t tc_frequency;
	const char *tc_name;
	int tc_quality;
};
struct timehands {
	struct timecounter *th_counter;
	struct bintime th_offset;
	struct bintime th_boottime;
	struct timehands *th_next;
};
static struct timehands *volatile timehands;
extern volatile time_t time_second;
extern volatile time_t time_uptime;
extern int hz;
extern volatile int ticks;
extern uint64_t (*cpu_ticks)(void);
static uint64_t cpu_tick_frequency;

/* sys/conf/newvers.sh, sys/kern/kern_mib.c, subr_param.c, subr_smp.c */
extern char ostype[16];
extern char osrelease[32];
extern char kern_ident[32];
extern int osreldate;
extern char kernelname[1024];
extern char machine[8];
extern char hostuuid[64];
extern int maxusers;
extern int maxproc;
extern int maxfiles;
extern int nprocs;
extern volatile int openfiles;
extern int desiredvnodes;
extern long numvnodes;
extern long freevnodes;
extern long physmem;
extern long Maxmem;
extern long realmem;
extern int vm_ndomains;
extern int mp_ncpus;
extern int mp_maxid;
extern int mp_maxcpus;
struct loadavg {
	uint32_t ldavg[3];
	long fscale;
};
extern struct loadavg averunnable;

/* machine/pcb.h */
struct pcb {
	uint64_t pcb_r15;
	uint64_t pcb_r14;
	uint64_t pcb_r13;
	uint64_t pcb_r12;
	uint64_t pcb_rbp;
	uint64_t pcb_rsp;
	uint64_t pcb_rbx;
	uint64_t pcb_rip;
	uint64_t pcb_fsbase;
	uint64_t pcb_gsbase;
	uint64_t pcb_cr3;
	uint64_t pcb_rest[29];
};

/* sys/kern/kern_shutdown.c, subr_smp.c, x86/x86/mp_x86.c */
static struct pcb dumppcb;
extern lwpid_t dumptid;
extern int dumping;
extern _Bool dumped_core;
extern const char *panicstr;
static char panicbuf[256];
extern struct pcb *stoppcbs;

/* sys/_cpuset.h, sys/pcpu.h */
struct _cpuset {
	long __bits[16];
};
typedef struct _cpuset cpuset_t;
extern cpuset_t all_cpus;
extern cpuset_t stopped_cpus;
struct pcpu {
	struct thread *pc_curthread;
	struct thread *pc_idlethread;
	struct thread *pc_fpcurthread;
	struct pcb *pc_curpcb;
	unsigned int pc_cpuid;
	long pc_cp_time[5];
	uint64_t pc_early_dummy_counter;
	uintptr_t pc_zpcpu_offset;
	int pc_domain;
};
extern struct pcpu *cpuid_to_pcpu[1024];
extern uintptr_t dpcpu_off[1024];

/* sys/signal.h, sys/signalvar.h, sys/resource.h, sys/resourcevar.h */
struct __sigset {
	uint32_t __bits[4];
};
struct sigqueue {
	struct __sigset sq_signals;
	struct __sigset sq_kill;
};
struct sigacts {
	struct __sigset ps_sigignore;
	struct __sigset ps_sigcatch;
};
struct rusage {
	struct timeval ru_utime;
	struct timeval ru_stime;
	long ru_maxrss, ru_minflt, ru_majflt, ru_nswap, ru_inblock, ru_oublock;
	long ru_msgsnd, ru_msgrcv, ru_nsignals, ru_nvcsw, ru_nivcsw;
};
struct rusage_ext {
	uint64_t rux_runtime;
	uint64_t rux_uticks;
	uint64_t rux_sticks;
	uint64_t rux_iticks;
	uint64_t rux_uu;
	uint64_t rux_su;
	uint64_t rux_tu;
};
struct pstats {
	struct rusage p_cru;
	struct timeval p_start;
};

/* sys/jail.h, sys/cpuset.h */
struct cpuset {
	cpuset_t cs_mask;
	int cs_id;
};
struct prison_ip {
	unsigned int ips;
	uint8_t pr_ip[64];
};
struct prison {
	TAILQ_ENTRY(prison) pr_list;
	int pr_id;
	volatile unsigned int pr_ref;
	volatile unsigned int pr_uref;
	unsigned int pr_flags;
	struct prison *pr_parent;
	struct cpuset *pr_cpuset;
	struct vnet *pr_vnet;
	struct vnode *pr_root;
	struct prison_ip *pr_addrs[2];
	int pr_childcount;
	int pr_childmax;
	unsigned int pr_allow;
	int pr_securelevel;
	int pr_enforce_statfs;
	enum prison_state {
		PRISON_STATE_INVALID = 0,
		PRISON_STATE_ALIVE,
		PRISON_STATE_DYING
	} pr_state;
	unsigned long pr_hostid;
	char pr_name[256];
	char pr_path[1024];
	char pr_hostname[256];
	char pr_domainname[256];
	char pr_hostuuid[64];
	char pr_osrelease[32];
};
extern TAILQ_HEAD(prisonlist, prison) allprison;
extern struct prison prison0;
struct bool_flags {
	const char *name;
	const char *noname;
	volatile unsigned int flag;
};
static struct bool_flags pr_flag_bool[4];
static struct bool_flags pr_flag_allow[4];

/* sys/ucred.h, sys/loginclass.h */
struct loginclass {
	LIST_ENTRY(loginclass) lc_next;
	char lc_name[33];
	unsigned int lc_refcount;
};
struct ucred {
	int cr_ref;
	uint32_t cr_flags;
	uid_t cr_uid;
	uid_t cr_ruid;
	uid_t cr_svuid;
	gid_t cr_gid;
	gid_t cr_rgid;
	gid_t cr_svgid;
	struct prison *cr_prison;
	struct loginclass *cr_loginclass;
};

/* sys/conf.h, fs/devfs/devfs_int.h, sys/tty.h, sys/proc.h */
struct cdev {
	unsigned int si_flags;
	char si_name[64];
};
struct cdev_priv {
	struct cdev cdp_c;
	uint32_t cdp_inode;
};
struct tty {
	struct pgrp *t_pgrp;
	struct session *t_session;
	struct cdev *t_dev;
};
struct session {
	unsigned int s_count;
	struct proc *s_leader;
	struct vnode *s_ttyvp;
	struct tty *s_ttyp;
	pid_t s_sid;
	char s_login[40];
};
struct pgrp {
	LIST_ENTRY(pgrp) pg_hash;
	struct session *pg_session;
	pid_t pg_id;
};
struct pargs {
	unsigned int ar_ref;
	unsigned int ar_length;
	uint8_t ar_args[1];
};
struct sysentvec {
	const char *sv_name;
	unsigned long sv_psstringssz;
	uint32_t sv_flags;
	vm_offset_t sv_shared_page_base;
	vm_offset_t sv_shared_page_len;
	struct vm_object *sv_shared_page_obj;
};

/* vm/vm_map.h, machine/pmap.h */
struct pmap_statistics {
	long resident_count;
	long wired_count;
};
struct pmap {
	uint64_t pm_cr3;
	struct pmap_statistics pm_stats;
};
union vm_map_object {
	struct vm_object *vm_object;
	struct vm_map *sub_map;
};
struct vm_map_entry {
	struct vm_map_entry *left;
	struct vm_map_entry *right;
	vm_offset_t start;
	vm_offset_t end;
	vm_offset_t next_read;
	union vm_map_object object;
	vm_ooffset_t offset;
	uint32_t eflags;
	uint8_t protection;
	uint8_t max_protection;
	char inheritance;
	int wired_count;
};
struct vm_map {
	struct vm_map_entry header;
	int nentries;
	vm_size_t size;
	unsigned int timestamp;
	unsigned int flags;
	struct vm_map_entry *root;
	struct pmap *pmap;
};
struct vmspace {
	struct vm_map vm_map;
	segsz_t vm_tsize;
	segsz_t vm_dsize;
	segsz_t vm_ssize;
	char *vm_taddr;
	char *vm_daddr;
	char *vm_maxsaddr;
	vm_offset_t vm_stacktop;
	vm_offset_t vm_shp_base;
	unsigned int vm_refcnt;
	struct pmap vm_pmap;
};

/* sys/kern/subr_turnstile.c, subr_sleepqueue.c, subr_witness.c */
struct threadqueue {
	struct thread *tqh_first;
	struct thread **tqh_last;
};
struct turnstile {
	struct mtx ts_lock;
	struct threadqueue ts_blocked[2];
	struct threadqueue ts_pending;
	LIST_ENTRY(turnstile) ts_hash;
	LIST_ENTRY(turnstile) ts_link;
	struct lock_object *ts_lockobj;
	struct thread *ts_owner;
};
struct turnstile_chain {
	struct mtx tc_lock;
	LIST_HEAD(, turnstile) tc_turnstiles;
};
static struct turnstile_chain turnstile_chains[4];
struct sleepqueue {
	struct threadqueue sq_blocked[2];
	LIST_ENTRY(sleepqueue) sq_hash;
	const void *sq_wchan;
	int sq_type;
};
struct sleepqueue_chain {
	LIST_HEAD(, sleepqueue) sc_queues;
	struct mtx sc_lock;
};
static struct sleepqueue_chain sleepq_chains[4];
struct lock_instance {
	struct lock_object *li_lock;
	const char *li_file;
	int li_line;
	unsigned int li_flags;
};
struct lock_list_entry {
	struct lock_list_entry *ll_next;
	struct lock_instance ll_children[6];
	unsigned int ll_count;
};

/* sys/proc.h */
struct thread {
	struct mtx *volatile td_lock;
	struct proc *td_proc;
	TAILQ_ENTRY(thread) td_plist;
	TAILQ_ENTRY(thread) td_runq;
	TAILQ_ENTRY(thread) td_slpq;
	TAILQ_ENTRY(thread) td_lockq;
	LIST_ENTRY(thread) td_hash;
	lwpid_t td_tid;
	struct sigqueue td_sigqueue;
	int td_flags;
	int td_inhibitors;
	int td_pflags;
	const void *td_wchan;
	const char *td_wmesg;
	volatile uint8_t td_owepreempt;
	struct turnstile *td_blocked;
	const char *td_lockname;
	LIST_HEAD(, turnstile) td_contested;
	struct lock_list_entry *td_sleeplocks;
	struct ucred *td_realucred;
	struct ucred *td_ucred;
	unsigned int td_slptick;
	unsigned int td_blktick;
	unsigned int td_cow;
	struct rusage td_ru;
	struct rusage_ext td_rux;
	uint64_t td_incruntime;
	uint64_t td_runtime;
	unsigned int td_pticks;
	unsigned int td_sticks;
	unsigned int td_iticks;
	unsigned int td_uticks;
	char td_name[20];
	struct __sigset td_sigmask;
	uint8_t td_priority;
	uint8_t td_pri_class;
	uint8_t td_user_pri;
	struct pcb *td_pcb;
	enum td_states {
		TDS_INACTIVE = 0,
		TDS_INHIBITED,
		TDS_CAN_RUN,
		TDS_RUNQ,
		TDS_RUNNING
	} td_state;
	vm_offset_t td_kstack;
	unsigned short td_kstack_pages;
	int td_lastcpu;
	int td_oncpu;
};
struct proc {
	LIST_ENTRY(proc) p_list;
	TAILQ_HEAD(, thread) p_threads;
	struct mtx p_slock;
	struct ucred *p_ucred;
	struct filedesc *p_fd;
	struct pwddesc *p_pd;
	struct pstats *p_stats;
	struct sigacts *p_sigacts;
	int p_flag;
	int p_flag2;
	enum p_states {
		PRS_NEW = 0,
		PRS_NORMAL,
		PRS_ZOMBIE
	} p_state;
	pid_t p_pid;
	LIST_ENTRY(proc) p_hash;
	LIST_ENTRY(proc) p_pglist;
	struct proc *p_pptr;
	LIST_ENTRY(proc) p_sibling;
	LIST_HEAD(, proc) p_children;
	struct mtx p_mtx;
	struct sigqueue p_sigqueue;
	pid_t p_oppid;
	struct vmspace *p_vmspace;
	unsigned int p_swtick;
	struct rusage p_ru;
	struct rusage_ext p_rux;
	int p_traceflag;
	struct ktr_io_params *p_ktrioparms;
	struct vnode *p_textvp;
	unsigned int p_lock;
	char p_comm[20];
	struct sysentvec *p_sysent;
	struct pargs *p_args;
	int8_t p_nice;
	int p_fibnum;
	unsigned int p_xexit;
	unsigned int p_xsig;
	struct pgrp *p_pgrp;
	int p_numthreads;
	unsigned short p_acflag;
};
extern LIST_HEAD(proclist, proc) allproc;
extern struct proc *initproc;
extern LIST_HEAD(pidhashhead, proc) *pidhashtbl;
extern unsigned long pidhash;
extern int proc_off_p_pid;
extern int proc_off_p_comm;
extern int proc_off_p_list;
extern int proc_off_p_hash;
extern int proc_off_p_threads;
extern int thread_off_td_tid;
extern int thread_off_td_name;
extern int thread_off_td_oncpu;
extern int thread_off_td_pcb;
extern int thread_off_td_plist;

/* sys/runq.h, sys/kern/sched_ule.c */
struct rq_queue {
	struct thread *tqh_first;
	struct thread **tqh_last;
};
struct runq {
	struct rq_queue rq_queues[64];
};
struct tdq {
	int tdq_load;
	int tdq_sysload;
	struct runq tdq_runq;
};
PCPU struct tdq tdq;
struct sched_instance {
	const char *name;
};
extern const struct sched_instance *active_sched;
extern const struct sched_instance sched_ule_instance;

/* sys/mount.h, sys/vnode.h, sys/namei.h, ufs/ufs, sys/filedesc.h, sys/file.h */
struct vfsconf {
	unsigned int vfc_version;
	char vfc_name[16];
};
struct fsid {
	int val[2];
};
struct statfs {
	uint32_t f_version;
	uint32_t f_type;
	uint64_t f_flags;
	uint64_t f_bsize;
	uint64_t f_blocks;
	uint64_t f_bfree;
	uint64_t f_syncwrites;
	uint64_t f_asyncwrites;
	uint64_t f_syncreads;
	uint64_t f_asyncreads;
	struct fsid f_fsid;
	char f_fstypename[16];
	char f_mntfromname[1024];
	char f_mntonname[1024];
};
struct mount {
	TAILQ_ENTRY(mount) mnt_list;
	struct vnode *mnt_vnodecovered;
	uint64_t mnt_flag;
	struct vfsconf *mnt_vfc;
	int mnt_nvnodelistsize;
	struct statfs mnt_stat;
	void *mnt_data;
};
extern TAILQ_HEAD(mntlist, mount) mountlist;
enum enum_vtype_uint8 : uint8_t {
	VNON,
	VREG,
	VDIR,
	VBLK,
	VCHR,
	VLNK,
	VSOCK,
	VFIFO,
	VBAD,
	VMARKER
};
struct vnode {
	enum enum_vtype_uint8 v_type;
	short v_irflag;
	void *v_data;
	struct mount *v_mount;
	struct cdev *v_rdev;
	TAILQ_HEAD(, namecache) v_cache_dst;
	struct namecache *v_cache_dd;
	unsigned short v_vflag;
};
extern struct vnode *rootvnode;
struct namecache {
	LIST_ENTRY(namecache) nc_src;
	TAILQ_ENTRY(namecache) nc_dst;
	struct vnode *nc_dvp;
	union {
		struct vnode *nu_vp;
	} n_un;
	uint8_t nc_flag;
	uint8_t nc_nlen;
	char nc_name[32];
};
struct ufsmount {
	struct mount *um_mountp;
	struct cdev *um_dev;
};
struct inode {
	struct vnode *i_vnode;
	struct ufsmount *i_ump;
	uint64_t i_number;
	uint64_t i_size;
	uint16_t i_mode;
};
struct devfs_dirent {
	struct cdev_priv *de_cdp;
	int de_inode;
	struct devfs_dirent *de_dir;
	uint16_t de_mode;
};
struct file {
	volatile unsigned int f_flag;
	volatile unsigned int f_count;
	void *f_data;
	struct vnode *f_vnode;
	short f_type;
	int64_t f_offset;
};
struct filedescent {
	struct file *fde_file;
	uint8_t fde_flags;
};
struct fdescenttbl {
	int fdt_nfiles;
	struct filedescent fdt_ofiles[16];
};
struct filedesc {
	struct fdescenttbl *fd_files;
	int fd_refcnt;
};
struct pwd {
	struct vnode *pwd_cdir;
	struct vnode *pwd_rdir;
	struct vnode *pwd_jdir;
};
struct pwddesc {
	struct {
		struct pwd *__ptr;
	} pd_pwd;
};
struct ktr_io_params {
	struct vnode *vp;
};
struct pipe_buf {
	unsigned int cnt;
	unsigned int size;
};
struct pipe {
	struct pipe_buf pipe_buffer;
	struct pipe_buf pipe_pages;
	struct pipe *pipe_peer;
	uint16_t pipe_state;
};

/* net/vnet.h, sys/socketvar.h, sys/unpcb.h, netinet/in_pcb.h, tcp_var.h */
struct vnet {
	LIST_ENTRY(vnet) vnet_le;
	unsigned int vnet_magic_n;
	uintptr_t vnet_data_base;
};
extern LIST_HEAD(vnet_list_head, vnet) vnet_head;
extern struct vnet *vnet0;
struct domain {
	int dom_family;
	const char *dom_name;
};
struct protosw {
	short pr_type;
	short pr_protocol;
	struct domain *pr_domain;
};
struct sockbuf {
	short sb_state;
	unsigned int sb_acc;
	unsigned int sb_ccc;
	unsigned int sb_hiwat;
};
struct socket {
	int so_options;
	short so_type;
	void *so_pcb;
	struct vnet *so_vnet;
	struct protosw *so_proto;
	struct ucred *so_cred;
	union {
		struct {
			struct sockbuf so_rcv;
			struct sockbuf so_snd;
		};
		struct {
			unsigned int sol_qlen;
			unsigned int sol_incqlen;
			unsigned int sol_qlimit;
		};
	};
};
struct in6_addr {
	uint8_t s6_addr[16];
};
union in_dependaddr {
	struct in6_addr id6_addr;
};
struct in_endpoints {
	uint16_t ie_fport;
	uint16_t ie_lport;
	union in_dependaddr ie_dependfaddr;
	union in_dependaddr ie_dependladdr;
};
struct in_conninfo {
	uint8_t inc_flags;
	struct in_endpoints inc_ie;
};
struct inpcb {
	CK_LIST_ENTRY(inpcb) inp_list;
	struct socket *inp_socket;
	uint8_t inp_vflag;
	uint8_t inp_ip_p;
	struct in_conninfo inp_inc;
};
struct tcpcb {
	struct inpcb t_inpcb;
	unsigned int t_state;
	unsigned int t_flags;
};
struct inpcbinfo {
	CK_LIST_HEAD(inpcbhead, inpcb) ipi_listhead;
};
struct syncache {
	TAILQ_ENTRY(syncache) sc_hash;
	struct in_conninfo sc_inc;
};
struct syncache_head {
	TAILQ_HEAD(sch_head, syncache) sch_bucket;
};
struct tcp_syncache {
	struct syncache_head *hashbase;
	unsigned int hashsize;
};
VNET struct inpcbinfo tcbinfo;
VNET struct inpcbinfo udbinfo;
VNET struct inpcbinfo ripcbinfo;
VNET struct tcp_syncache tcp_syncache;
struct sockaddr_un {
	uint8_t sun_len;
	uint8_t sun_family;
	char sun_path[104];
};
struct unpcb {
	LIST_ENTRY(unpcb) unp_link;
	LIST_HEAD(unp_refhead, unpcb) unp_refs;
	LIST_ENTRY(unpcb) unp_reflink;
	struct socket *unp_socket;
	struct vnode *unp_vnode;
	struct unpcb *unp_conn;
	struct sockaddr_un *unp_addr;
};
static LIST_HEAD(unp_head, unpcb) unp_shead;
static LIST_HEAD(unp_head, unpcb) unp_dhead;
static LIST_HEAD(unp_head, unpcb) unp_sphead;

/* net/if_var.h, net/if_private.h, sys/socket.h, net/route */
struct sockaddr {
	uint8_t sa_len;
	uint8_t sa_family;
	char sa_data[14];
};
struct ifaddr {
	struct sockaddr *ifa_addr;
	struct sockaddr *ifa_netmask;
	CK_STAILQ_ENTRY(ifaddr) ifa_link;
	counter_u64_t ifa_ipackets;
	counter_u64_t ifa_opackets;
	counter_u64_t ifa_ibytes;
	counter_u64_t ifa_obytes;
};
struct ifnet {
	CK_STAILQ_ENTRY(ifnet) if_link;
	uint16_t if_index;
	char if_xname[16];
	int if_flags;
	int if_drv_flags;
	uint8_t if_link_state;
	uint32_t if_mtu;
	CK_STAILQ_HEAD(, ifaddr) if_addrhead;
	struct ifaddr *if_addr;
	void *if_afdata[46];
	uint64_t (*if_get_counter)(struct ifnet *, int);
	counter_u64_t if_counters[12];
};
VNET CK_STAILQ_HEAD(ifnethead, ifnet) ifnet;
struct radix_node {
	short rn_bit;
	char rn_bmask;
	uint8_t rn_flags;
	union {
		struct {
			char *rn_Key;
			char *rn_Mask;
			struct radix_node *rn_Dupedkey;
		} rn_leaf;
		struct {
			int rn_Off;
			struct radix_node *rn_L;
			struct radix_node *rn_R;
		} rn_node;
	} rn_u;
};
struct radix_head {
	struct radix_node *rnh_treetop;
};
struct rib_head {
	struct radix_head head;
	int rib_family;
	unsigned int rib_fibnum;
};
struct nhop_priv {
	uint32_t rt_flags;
	uint32_t nh_expire;
	uint32_t nh_idx;
};
struct nhop_object {
	uint16_t nh_flags;
	uint16_t nh_mtu;
	char gw_sa[28];
	struct ifnet *nh_ifp;
	struct nhop_priv *nh_priv;
};
struct nhgrp_object {
	uint16_t nhg_flags;
	uint8_t nhg_size;
	struct nhop_object *nhops[1];
};
struct weightened_nhop {
	struct nhop_object *nh;
	uint32_t weight;
};
struct nhgrp_priv {
	uint8_t nhg_nh_count;
	struct weightened_nhop nhg_nh_weights[1];
};
struct rtentry {
	struct radix_node rt_nodes[2];
	struct nhop_object *rt_nhop;
	uint64_t rt_weight;
};
VNET uint32_t _rt_numfibs;
VNET struct rib_head **rt_tables;

/* sys/malloc.h, vm/uma_int.h */
struct malloc_type_stats {
	uint64_t mts_memalloced;
	uint64_t mts_memfreed;
	uint64_t mts_numallocs;
	uint64_t mts_numfrees;
	uint64_t mts_size;
};
struct malloc_type_internal {
	uint32_t mti_probes[2];
	struct malloc_type_stats *mti_stats;
};
struct malloc_type {
	struct malloc_type *ks_next;
	unsigned long ks_version;
	const char *ks_shortdesc;
	struct malloc_type_internal ks_mti;
};
static struct malloc_type *kmemstatistics;
struct kmemzone {
	int kz_size;
	const char *kz_name;
};
static struct kmemzone kmemzones[14];
struct uma_cache_bucket {
	struct uma_bucket *ucb_bucket;
	int16_t ucb_cnt;
	int16_t ucb_entries;
	uint32_t ucb_spare;
};
struct uma_cache {
	struct uma_cache_bucket uc_freebucket;
	struct uma_cache_bucket uc_allocbucket;
	struct uma_cache_bucket uc_crossbucket;
	uint64_t uc_allocs;
	uint64_t uc_frees;
};
struct uma_zone_domain {
	void *uzd_buckets;
	long uzd_nitems;
};
struct uma_zone {
	uint32_t uz_flags;
	uint32_t uz_size;
	uint64_t uz_max_items;
	counter_u64_t uz_xdomain;
	uint64_t uz_sleeps;
	LIST_ENTRY(uma_zone) uz_link;
	counter_u64_t uz_allocs;
	counter_u64_t uz_frees;
	counter_u64_t uz_fails;
	const char *uz_name;
	struct uma_cache uz_cpu[];
};
struct uma_domain {
	uint32_t ud_pages;
	uint32_t ud_free_items;
};
struct uma_keg {
	LIST_HEAD(, uma_zone) uk_zones;
	uint32_t uk_size;
	const char *uk_name;
	LIST_ENTRY(uma_keg) uk_link;
	struct uma_domain uk_domain[];
};
static LIST_HEAD(, uma_keg) uma_kegs;
static LIST_HEAD(, uma_zone) uma_cachezones;
extern unsigned long vm_kmem_size;
extern unsigned long uma_kmem_total;

/* sys/vmmeter.h, vm/vm_pagequeue.h, vm/swap_pager.h */
struct vmmeter {
	counter_u64_t v_swtch, v_trap, v_syscall, v_intr, v_soft;
	counter_u64_t v_vm_faults, v_io_faults, v_cow_faults, v_cow_optim;
	counter_u64_t v_zfod, v_ozfod, v_swapin, v_swapout, v_swappgsin;
	counter_u64_t v_swappgsout, v_vnodein, v_vnodeout, v_vnodepgsin;
	counter_u64_t v_vnodepgsout, v_intrans, v_reactivated, v_pdwakeups;
	counter_u64_t v_pdpages, v_pdshortfalls, v_dfree, v_pfree, v_tfree;
	counter_u64_t v_forks, v_vforks, v_rforks, v_kthreads;
	counter_u64_t v_forkpages, v_vforkpages, v_rforkpages, v_kthreadpages;
	counter_u64_t v_wire_count;
	unsigned int v_page_size;
	unsigned int v_page_count;
	unsigned int v_free_reserved;
	unsigned int v_free_target;
	unsigned int v_free_min;
	unsigned int v_inactive_target;
	unsigned int v_pageout_free_min;
	unsigned int v_interrupt_free_min;
	unsigned int v_free_severe;
};
extern struct vmmeter vm_cnt;
struct vm_pagequeue {
	int pq_cnt;
	const char *pq_name;
	uint64_t pq_pdpages;
};
struct vm_domain {
	struct vm_pagequeue vmd_pagequeues[4];
	unsigned int vmd_domain;
	unsigned int vmd_page_count;
	unsigned int vmd_free_count;
	unsigned int vmd_free_target;
	unsigned int vmd_free_min;
	int vmd_pageout_wanted;
	enum {
		VM_LAUNDRY_IDLE = 0,
		VM_LAUNDRY_BACKGROUND,
		VM_LAUNDRY_SHORTFALL
	} vmd_laundry_request;
};
extern struct vm_domain vm_dom[8];
extern unsigned long vm_user_wire_count;
static counter_u64_t numposhits;
static counter_u64_t numneghits;
static counter_u64_t numposzaps;
static counter_u64_t numnegzaps;
static counter_u64_t nummiss;
static counter_u64_t nummisszap;
struct nchstats {
	long ncs_falsehits;
	long ncs_long;
	long ncs_pass2;
};
extern struct nchstats nchstats;
struct swdevt {
	int sw_flags;
	int sw_nblks;
	int sw_used;
	uint64_t sw_dev;
	struct vnode *sw_vp;
	void *sw_id;
	TAILQ_ENTRY(swdevt) sw_list;
};
static TAILQ_HEAD(, swdevt) swtailq;
static int nsw_cluster_max;

/* sys/interrupt.h */
extern unsigned long *intrcnt;
extern char *intrnames;
extern size_t sintrcnt;
extern size_t sintrnames;

/* sys/linker.h, sys/module.h, sys/kenv.h, sys/sysctl.h */
struct module {
	TAILQ_ENTRY(module) link;
	TAILQ_ENTRY(module) flink;
	struct linker_file *file;
	int refs;
	int id;
	char *name;
};
struct linker_file {
	int refs;
	int userrefs;
	int flags;
	TAILQ_ENTRY(linker_file) link;
	char *filename;
	char *pathname;
	int id;
	char *address;
	size_t size;
	int ndeps;
	struct linker_file **deps;
	TAILQ_HEAD(, module) modules;
};
struct modlist {
	TAILQ_ENTRY(modlist) link;
	struct linker_file *container;
	const char *name;
	int version;
};
extern TAILQ_HEAD(linker_file_list, linker_file) linker_files;
static TAILQ_HEAD(modlisthead, modlist) found_modules;
extern int kld_off_address;
extern int kld_off_filename;
extern int kld_off_pathname;
extern int kld_off_next;
extern char **kenvp;
extern _Bool dynamic_kenv;
extern char *md_envp;
extern char *kern_envp;
struct sysctl_oid_list {
	struct sysctl_oid *rbh_root;
};
struct sysctl_oid {
	struct sysctl_oid_list oid_children;
	struct sysctl_oid_list *oid_parent;
	struct {
		struct sysctl_oid *rbe_link[3];
	} oid_link;
	int oid_number;
	unsigned int oid_kind;
	void *oid_arg1;
	int64_t oid_arg2;
	const char *oid_name;
	int (*oid_handler)(void);
	const char *oid_fmt;
	int oid_refcnt;
	unsigned int oid_running;
	const char *oid_descr;
};
extern struct sysctl_oid_list sysctl__children;

/* amd64/amd64/pmap.c, minidump_machdep.c, vm/vm_dumpset.h, sys/msgbuf.h */
struct kva_layout_s {
	vm_offset_t kva_min;
	vm_offset_t kva_max;
	vm_offset_t dmap_low;
	vm_offset_t dmap_high;
	vm_offset_t lm_low;
	vm_offset_t lm_high;
	vm_offset_t km_low;
};
extern struct kva_layout_s kva_layout;
extern uint64_t KPML4phys;
extern uint64_t KPML5phys;
extern int nkpt;
extern vm_offset_t kernel_vm_end;
extern vm_paddr_t dump_avail[130];
extern unsigned long *vm_page_dump;
extern long vm_page_dump_pages;
struct msgbuf {
	char *msg_ptr;
	unsigned int msg_magic;
	unsigned int msg_size;
	unsigned int msg_wseq;
	unsigned int msg_rseq;
	unsigned int msg_cksum;
	unsigned int msg_seqmod;
	int msg_lastpri;
	unsigned int msg_flags;
	struct mtx msg_lock;
};
extern struct msgbuf *msgbufp;

/* The module if_demo.ko of this machine alone. */
struct demo_softc {
	struct ifnet *sc_ifp;
	struct mtx sc_mtx;
	unsigned int sc_flags;
	struct demo_ring *sc_ring;
	uint64_t sc_packets;
};
