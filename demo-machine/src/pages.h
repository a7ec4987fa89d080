/*
 * Types and variables of physical memory: pages, objects, and free lists.
 */

/* sys/_pctrie.h, sys/kern/subr_pctrie.c, vm/vm_radix.h */
struct pctrie_node {
	uint64_t pn_owner;
	uint16_t pn_popmap;
	uint8_t pn_clev;
	struct {
		struct pctrie_node *__ptr;
	} pn_child[16];
};
struct pctrie {
	struct pctrie_node *pt_root;
};
struct vm_radix {
	struct pctrie rt_trie;
};

/* vm/vm.h, vm_object.h, swap_pager.c */
enum obj_type {
	OBJT_RESERVED = 0,
	OBJT_SWAP,
	OBJT_VNODE,
	OBJT_DEVICE,
	OBJT_PHYS,
	OBJT_SG,
	OBJT_MGTDEVICE,
	OBJT_FIRST_DYN
};
struct swblk {
	vm_pindex_t p;
	int64_t d[16];
};
struct vm_object {
	struct rwlock lock;
	struct vm_radix rtree;
	vm_pindex_t size;
	int ref_count;
	int shadow_count;
	uint8_t memattr;
	uint8_t type;
	uint32_t flags;
	int resident_page_count;
	struct vm_object *backing_object;
	vm_ooffset_t backing_object_offset;
	void *handle;
	union {
		struct {
			void *swp_priv;
			struct pctrie swp_blks;
		} swp;
	} un_pager;
};
extern struct vm_object kernel_object_store;
extern struct vm_object *kstack_object;

/* vm/vm_page.h */
struct vm_page {
	union {
		struct {
			TAILQ_ENTRY(vm_page) q;
		};
	} plinks;
	struct vm_object *object;
	vm_pindex_t pindex;
	vm_paddr_t phys_addr;
	unsigned int ref_count;
	unsigned int busy_lock;
	struct {
		uint16_t flags;
		uint8_t queue;
		uint8_t act_count;
	} a;
	uint8_t order;
	uint8_t pool;
	uint8_t flags;
	uint8_t oflags;
	int8_t psind;
	int8_t segind;
	uint8_t valid;
	uint8_t dirty;
};
extern struct vm_page *vm_page_array;
extern long vm_page_array_size;

/* vm/_vm_phys.h, vm_phys.c */
struct vm_freelist {
	TAILQ_HEAD(, vm_page) pl;
	int lcnt;
};
struct vm_phys_seg {
	vm_paddr_t start;
	vm_paddr_t end;
	struct vm_page *first_page;
	void *first_reserv;
	int domain;
	void *free_queues;
};
extern struct vm_phys_seg vm_phys_segs[63];
extern int vm_phys_nsegs;
static int vm_nfreelists;
static struct vm_freelist vm_phys_free_queues[8][2][2][13];
extern vm_paddr_t phys_avail[64];
