/*
 * What stands in for a FreeBSD kernel: its name, the variables and constants
 * that debuggers look for, and functions that call each other as those do on
 * the stacks of its threads.  It never runs.  What a running kernel would have
 * put into its variables, common/kernel.rs puts there.
 *
 * Names and meanings are the kernel's: sys/kern/kern_proc.c, kern_mib.c,
 * kern_shutdown.c, kern_linker.c, subr_smp.c and conf/newvers.sh.  The layouts
 * of struct proc, thread and linker_file are not, so that whoever reads them
 * has to go by the constants; that of struct pcb is.
 */

#include <stddef.h>
#include <stdint.h>

#define	MAXCOMLEN	19
#define	MAXCPU		4

#if defined(__x86_64__)
#define	MACHINE	"amd64"
#elif defined(__aarch64__)
#define	MACHINE	"arm64"
#elif defined(__riscv)
#define	MACHINE	"riscv"
#elif defined(__i386__)
#define	MACHINE	"i386"
#elif defined(__arm__)
#define	MACHINE	"arm"
#elif defined(__powerpc64__)
#define	MACHINE	"powerpc"
#endif

/* OSRELDATE is given: the first versions of a minidump are older kernels'. */
#if OSRELDATE >= 1400000
#define	RELEASE	"14.2-RELEASE"
#else
#define	RELEASE	"12.1-RELEASE"
#endif

char version[] = "FreeBSD " RELEASE " MEMTOOL-STANDIN " MACHINE "\n";
char ostype[] = "FreeBSD";
char osrelease[32] = RELEASE;
char kern_ident[] = "MEMTOOL-STANDIN";
int osreldate = OSRELDATE;

/* Registers of a thread that does not run, as in machine/pcb.h. */
struct pcb {
#if defined(__x86_64__)
	uint64_t	pcb_r15, pcb_r14, pcb_r13, pcb_r12;
	uint64_t	pcb_rbp, pcb_rsp, pcb_rbx, pcb_rip;
	uint64_t	pcb_rest[34];
#elif defined(__aarch64__) && OSRELDATE > 1400084
	uint64_t	pcb_x[12];	/* x19 to x28, the frame's and lr. */
	uint64_t	pcb_sp;
	uint64_t	pcb_rest[77];
#elif defined(__aarch64__)
	uint64_t	pcb_x[30];
	uint64_t	pcb_lr;
	uint64_t	pcb_reserved;
	uint64_t	pcb_sp;
	uint64_t	pcb_rest[77];
#elif defined(__riscv)
	uint64_t	pcb_ra, pcb_sp, pcb_gp, pcb_tp;
	uint64_t	pcb_s[12];
	uint64_t	pcb_rest[67];
#else
	uintptr_t	pcb_rest[64];
#endif
};

struct thread;

/* The links are those of sys/queue.h: a TAILQ of threads, a LIST of processes. */
struct thread {
	uint64_t	td_padding[3];
	char		td_name[MAXCOMLEN + 1];
	int		td_tid;
	struct proc	*td_proc;
	struct {
		struct thread	*tqe_next;
		struct thread	**tqe_prev;
	}		td_plist;
	int		td_oncpu;	/* -1: none. */
	struct pcb	*td_pcb;
	uintptr_t	td_kstack;
};

struct proc {
	uint32_t	p_padding[5];
	int		p_pid;
	struct {
		struct proc	*le_next;
		struct proc	**le_prev;
	}		p_hash;
	char		p_comm[MAXCOMLEN + 1];
	struct {
		struct thread	*tqh_first;
		struct thread	**tqh_last;
	}		p_threads;
	struct {
		struct proc	*le_next;
		struct proc	**le_prev;
	}		p_list;
};

struct linker_file {
	int		refs;
	char		*pathname;
	struct {
		struct linker_file	*tqe_next;
		struct linker_file	**tqe_prev;
	}		link;
	size_t		size;
	char		*address;
	char		*filename;
};

const int proc_off_p_pid = offsetof(struct proc, p_pid);
const int proc_off_p_comm = offsetof(struct proc, p_comm);
const int proc_off_p_list = offsetof(struct proc, p_list);
#if OSRELDATE >= 1300000
const int proc_off_p_hash = offsetof(struct proc, p_hash);
#endif
const int proc_off_p_threads = offsetof(struct proc, p_threads);
const int thread_off_td_tid = offsetof(struct thread, td_tid);
const int thread_off_td_name = offsetof(struct thread, td_name);
const int thread_off_td_oncpu = offsetof(struct thread, td_oncpu);
const int thread_off_td_pcb = offsetof(struct thread, td_pcb);
const int thread_off_td_plist = offsetof(struct thread, td_plist);
const int kld_off_address = offsetof(struct linker_file, address);
const int kld_off_filename = offsetof(struct linker_file, filename);
const int kld_off_pathname = offsetof(struct linker_file, pathname);
const int kld_off_next = offsetof(struct linker_file, link.tqe_next);
const int pcb_size = sizeof(struct pcb);

struct {
	struct proc	*lh_first;
} allproc;
struct proc	proc0;
struct thread	thread0_st;
struct {
	struct linker_file	*tqh_first;
	struct linker_file	**tqh_last;
} linker_files = { NULL, &linker_files.tqh_first };
char		kernelname[1024] = "/boot/kernel/kernel";

/* The thread that dumps, and what stopped the others. */
static struct pcb dumppcb __attribute__((used));
int		dumptid;
int		dumping;
#if OSRELDATE >= 1400000
_Bool		dumped_core;
/* Held by the thread that writes a live dump. */
static struct sx {
	const char	*lo_name;
	unsigned int	lo_flags, lo_data;
	void		*lo_witness;
	uintptr_t	sx_lock;
} livedump_sx __attribute__((used)) = { "Livedump sx", 0, 0, NULL, 1 };
#endif
#if OSRELDATE >= 1400089
struct pcb	*stoppcbs;
#else
struct pcb	stoppcbs[MAXCPU];
#endif
int		mp_ncpus = MAXCPU;
int		mp_maxid = MAXCPU - 1;
struct {
	long	__bits[OSRELDATE >= 1400000 ? 16 : 4];
} stopped_cpus;
const char	*panicstr;
static char	panicbuf[256] __attribute__((used));

int		hz = 1000;
int		ticks;
volatile long	time_second = 1;
volatile long	time_uptime = 1;
/* Fixed point, with the scale behind: sys/resource.h. */
struct loadavg {
	uint32_t	ldavg[3];
	long		fscale;
} averunnable = { { 0, 0, 0 }, 2048 };

/*
 * Where a thread stands in a function, with its frame set up: behind a call,
 * or nearly.  The address is in a variable of its own, since the symbol of a
 * label would hide the function's.
 */
#if UINTPTR_MAX > 0xffffffff
#define	POINTER	".quad"
#else
#define	POINTER	".long"
#endif
#define	STANDS_HERE(function)						\
	__asm__ volatile("1:\tnop\n\t.pushsection .data.rel.ro,\"aw\"\n\t"	\
	    ".globl in_" function "\nin_" function ":\n\t"		\
	    POINTER " 1b\n\t.popsection" ::: "memory")

void	cpu_switch(struct thread *, struct thread *);
void	sched_switch(struct thread *);
void	mi_switch(int);
void	sleepq_wait(void *);
void	vm_pageout(void *);
void	fork_exit(void (*)(void *), void *);
void	cpustop_handler(void);
void	sched_idletd(void *);
void	vpanic(const char *);
void	kern_reboot(int);

void
cpu_switch(struct thread *old, struct thread *new)
{

	old->td_oncpu = -1;
	new->td_oncpu = 0;
}

void
sched_switch(struct thread *td)
{

	cpu_switch(td, &thread0_st);
	STANDS_HERE("sched_switch");
}

void
mi_switch(int flags)
{

	ticks += flags;
	sched_switch(&thread0_st);
	STANDS_HERE("mi_switch");
}

void
sleepq_wait(void *channel)
{

	mi_switch(channel != NULL);
	STANDS_HERE("sleepq_wait");
}

void
vm_pageout(void *channel)
{

	for (;;) {
		sleepq_wait(channel);
		STANDS_HERE("vm_pageout");
	}
}

void
cpustop_handler(void)
{

	while (stopped_cpus.__bits[0] != 0)
		STANDS_HERE("cpustop_handler");
}

void
sched_idletd(void *unused)
{

	for (;;) {
		ticks += unused == NULL;
		cpustop_handler();
		STANDS_HERE("sched_idletd");
	}
}

void
kern_reboot(int how)
{

	dumptid = how;
	STANDS_HERE("kern_reboot");
}

void
vpanic(const char *why)
{

	panicstr = why;
	kern_reboot(0);
	STANDS_HERE("vpanic");
}

void
fork_exit(void (*function)(void *), void *argument)
{

	function(argument);
	STANDS_HERE("fork_exit");
}

/* Where the kernel's code begins. */
void
btext(void)
{

	fork_exit(vm_pageout, &hz);
	vpanic(version);
	sched_idletd(NULL);
}
