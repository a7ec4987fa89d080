/*
 * Types and variables of callouts, System V IPC and counters of protocols.
 */

/* sys/_callout.h, sys/kern/kern_timeout.c */
struct callout {
	union {
		LIST_ENTRY(callout) le;
		SLIST_ENTRY(callout) sle;
		TAILQ_ENTRY(callout) tqe;
	} c_links;
	sbintime_t c_time;
	sbintime_t c_precision;
	void *c_arg;
	void (*c_func)(void *);
	struct lock_object *c_lock;
	short c_flags;
	short c_iflags;
	volatile int c_cpu;
};
struct callout_cpu {
	struct mtx cc_lock;
	LIST_HEAD(callout_list, callout) *cc_callwheel;
	TAILQ_HEAD(callout_tailq, callout) cc_expireq;
	sbintime_t cc_firstevent;
	sbintime_t cc_lastscan;
};
PCPU struct callout_cpu cc_cpu;
static unsigned int callwheelsize;

/* sys/kern/uipc_socket.c, kern_sig.c, kern_prot.c, netinet/tcp_usrreq.c */
static unsigned int somaxconn;
static int do_coredump;
static int see_other_uids;
static unsigned int tcp_sendspace;

/* sys/ipc.h, sys/msg.h, sys/shm.h, sys/sem.h */
struct ipc_perm {
	uid_t cuid;
	gid_t cgid;
	uid_t uid;
	gid_t gid;
	unsigned short mode;
	unsigned short seq;
	long key;
};
struct msqid_ds {
	struct ipc_perm msg_perm;
	unsigned long msg_cbytes;
	unsigned long msg_qnum;
	unsigned long msg_qbytes;
	pid_t msg_lspid;
	pid_t msg_lrpid;
	time_t msg_stime;
	time_t msg_rtime;
	time_t msg_ctime;
};
struct msqid_kernel {
	struct msqid_ds u;
	struct ucred *cred;
};
struct msginfo {
	int msgmax;
	int msgmni;
	int msgmnb;
	int msgtql;
	int msgssz;
	int msgseg;
};
extern struct msginfo msginfo;
static struct msqid_kernel *msqids;
struct shmid_ds {
	struct ipc_perm shm_perm;
	size_t shm_segsz;
	pid_t shm_lpid;
	pid_t shm_cpid;
	int shm_nattch;
	time_t shm_atime;
	time_t shm_dtime;
	time_t shm_ctime;
};
struct shmid_kernel {
	struct shmid_ds u;
	struct vm_object *object;
	struct ucred *cred;
};
struct shminfo {
	unsigned long shmmax;
	unsigned long shmmin;
	unsigned long shmmni;
	unsigned long shmseg;
	unsigned long shmall;
};
extern struct shminfo shminfo;
static int shmalloced;
static struct shmid_kernel *shmsegs;
struct sem {
	unsigned short semval;
	pid_t sempid;
	unsigned short semncnt;
	unsigned short semzcnt;
};
struct semid_ds {
	struct ipc_perm sem_perm;
	struct sem *__sem_base;
	unsigned short sem_nsems;
	time_t sem_otime;
	time_t sem_ctime;
};
struct semid_kernel {
	struct semid_ds u;
	struct ucred *cred;
};
struct seminfo {
	int semmni;
	int semmns;
	int semmnu;
	int semmsl;
	int semopm;
	int semume;
	int semusz;
	int semvmx;
	int semaem;
};
extern struct seminfo seminfo;
static struct semid_kernel *sema;

/* netinet/tcp_var.h, udp_var.h, ip_var.h, icmp_var.h, net/if_arp.h */
struct tcpstat {
	uint64_t tcps_connattempt;
	uint64_t tcps_accepts;
	uint64_t tcps_connects;
	uint64_t tcps_drops;
	uint64_t tcps_conndrops;
	uint64_t tcps_closed;
	uint64_t tcps_segstimed;
	uint64_t tcps_rttupdated;
	uint64_t tcps_delack;
	uint64_t tcps_timeoutdrop;
	uint64_t tcps_rexmttimeo;
	uint64_t tcps_persisttimeo;
	uint64_t tcps_keeptimeo;
	uint64_t tcps_keepprobe;
	uint64_t tcps_keepdrops;
	uint64_t tcps_sndtotal;
	uint64_t tcps_sndpack;
	uint64_t tcps_sndbyte;
	uint64_t tcps_sndrexmitpack;
	uint64_t tcps_sndrexmitbyte;
	uint64_t tcps_sndacks;
	uint64_t tcps_rcvtotal;
	uint64_t tcps_rcvpack;
	uint64_t tcps_rcvbyte;
	uint64_t tcps_rcvbadsum;
	uint64_t tcps_rcvduppack;
	uint64_t tcps_rcvdupack;
	uint64_t tcps_sc_added;
	uint64_t tcps_listendrop;
};
struct udpstat {
	uint64_t udps_ipackets;
	uint64_t udps_badsum;
	uint64_t udps_noport;
	uint64_t udps_noportbcast;
	uint64_t udps_fullsock;
	uint64_t udps_opackets;
};
struct ipstat {
	uint64_t ips_total;
	uint64_t ips_badsum;
	uint64_t ips_fragments;
	uint64_t ips_delivered;
	uint64_t ips_noproto;
	uint64_t ips_forward;
	uint64_t ips_cantforward;
	uint64_t ips_localout;
	uint64_t ips_odropped;
	uint64_t ips_noroute;
};
struct icmpstat {
	uint64_t icps_error;
	uint64_t icps_badcode;
	uint64_t icps_reflect;
	uint64_t icps_outhist[41];
	uint64_t icps_inhist[41];
};
struct arpstat {
	uint64_t txrequests;
	uint64_t txreplies;
	uint64_t rxrequests;
	uint64_t rxreplies;
	uint64_t received;
	uint64_t dropped;
	uint64_t timeouts;
	uint64_t dupips;
};
VNET counter_u64_t tcpstat[29];
VNET counter_u64_t udpstat[6];
VNET counter_u64_t ipstat[10];
VNET counter_u64_t icmpstat[85];
VNET counter_u64_t arpstat[8];
