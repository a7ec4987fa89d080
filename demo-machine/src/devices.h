/*
 * Types and variables of devices: their tree, statistics of them, GEOM, CAM,
 * and buffers of file systems.
 */

/* sys/devicestat.h */
struct devstat {
	unsigned int sequence0;
	int allocated;
	unsigned int start_count;
	unsigned int end_count;
	struct bintime busy_from;
	STAILQ_ENTRY(devstat) dev_links;
	uint32_t device_number;
	char device_name[16];
	int unit_number;
	uint64_t bytes[4];
	uint64_t operations[4];
	struct bintime duration[4];
	struct bintime busy_time;
	struct bintime creation_time;
	uint32_t block_size;
	uint64_t tag_types[3];
	const void *id;
	unsigned int sequence1;
};
static STAILQ_HEAD(devstatlist, devstat) device_statq;

/* sys/kobj.h, sys/bus.h, sys/kern/subr_bus.c, subr_rman.c */
struct kobj_class {
	const char *name;
};
enum device_state {
	DS_NOTPRESENT = 10,
	DS_ALIVE = 20,
	DS_ATTACHING = 25,
	DS_ATTACHED = 30
};
struct _device {
	void *ops;
	TAILQ_ENTRY(_device) link;
	TAILQ_ENTRY(_device) devlink;
	struct _device *parent;
	TAILQ_HEAD(device_list, _device) children;
	struct kobj_class *driver;
	int unit;
	char *nameunit;
	char *desc;
	unsigned int busy;
	enum device_state state;
	uint32_t devflags;
	unsigned int flags;
	unsigned int order;
	void *ivars;
	void *softc;
};
extern struct _device *root_bus;
static struct kobj_class nexus_driver;
static struct kobj_class acpi_driver;
static struct kobj_class acpi_pci_driver;
struct resource_i {
	TAILQ_ENTRY(resource_i) r_link;
	LIST_ENTRY(resource_i) r_sharelink;
	LIST_HEAD(, resource_i) *r_sharehead;
	uint64_t r_start;
	uint64_t r_end;
	unsigned int r_flags;
	struct _device *r_dev;
	struct rman *r_rm;
};
struct rman {
	TAILQ_HEAD(resource_head, resource_i) rm_list;
	TAILQ_ENTRY(rman) rm_link;
	uint64_t rm_start;
	uint64_t rm_end;
	const char *rm_descr;
};
extern TAILQ_HEAD(rman_head, rman) rman_head;

/* dev/pci/pcivar.h, dev/acpica, contrib/dev/acpica */
struct pcicfg {
	struct _device *dev;
	uint16_t subvendor;
	uint16_t subdevice;
	uint16_t vendor;
	uint16_t device;
	uint8_t baseclass;
	uint8_t subclass;
	uint8_t progif;
	uint8_t revid;
	uint32_t domain;
	uint8_t bus;
	uint8_t slot;
	uint8_t func;
};
struct pci_devinfo {
	struct pcicfg cfg;
};
struct acpi_pci_devinfo {
	struct pci_devinfo ap_dinfo;
	void *ap_handle;
};
struct acpi_device {
	void *ad_handle;
};
struct acpi_namespace_node {
	void *Object;
	uint8_t DescriptorType;
	uint8_t Type;
	char Name[4];
	struct acpi_namespace_node *Parent;
};

/* geom/geom.h, sys/bio.h, geom/geom_io.c */
struct g_class {
	const char *name;
	LIST_ENTRY(g_class) class;
	LIST_HEAD(, g_geom) geom;
};
struct g_geom {
	char *name;
	struct g_class *class;
	LIST_ENTRY(g_geom) geom;
	LIST_HEAD(, g_consumer) consumer;
	LIST_HEAD(, g_provider) provider;
	int rank;
	void *softc;
	unsigned int flags;
};
struct g_consumer {
	struct g_geom *geom;
	LIST_ENTRY(g_consumer) consumer;
	struct g_provider *provider;
	LIST_ENTRY(g_consumer) consumers;
	int acr, acw, ace;
	int flags;
	struct devstat *stat;
};
struct g_provider {
	char *name;
	LIST_ENTRY(g_provider) provider;
	struct g_geom *geom;
	LIST_HEAD(, g_consumer) consumers;
	int acr, acw, ace;
	int error;
	int64_t mediasize;
	unsigned int sectorsize;
	int64_t stripesize;
	int64_t stripeoffset;
	struct devstat *stat;
	unsigned int flags;
};
struct bio {
	uint16_t bio_cmd;
	uint16_t bio_flags;
	int64_t bio_offset;
	int bio_error;
	int64_t bio_length;
	int64_t bio_completed;
	TAILQ_ENTRY(bio) bio_queue;
	struct g_consumer *bio_from;
	struct g_provider *bio_to;
	struct bintime bio_t0;
	struct bio *bio_parent;
};
struct g_bioq {
	TAILQ_HEAD(, bio) bio_queue;
	int bio_queue_length;
};
extern LIST_HEAD(class_list, g_class) g_classes;
extern int g_collectstats;
static struct g_bioq g_bio_run_down;
static struct g_bioq g_bio_run_up;

/* cam/cam.h, cam_queue.h, cam_xpt_internal.h, cam_periph.h, cam_ccb.h */
struct cam_pinfo {
	uint32_t priority;
	uint32_t generation;
	int index;
};
enum xpt_opcode {
	XPT_NOOP = 0,
	XPT_SCSI_IO = 0x101,
	XPT_ATA_IO = 0x118
};
struct ccb_hdr {
	struct cam_pinfo pinfo;
	union {
		TAILQ_ENTRY(ccb_hdr) tqe;
	} xpt_links;
	uint16_t retry_count;
	enum xpt_opcode func_code;
	uint32_t status;
	uint32_t flags;
	uint32_t timeout;
};
struct camq {
	struct cam_pinfo **queue_array;
	int array_size;
	int entries;
	uint32_t generation;
	uint32_t qfrozen_cnt;
};
struct cam_ccbq {
	struct camq queue;
	TAILQ_HEAD(ccb_hdr_tailq, ccb_hdr) queue_extra_head;
	int queue_extra_entries;
	int total_openings;
	int allocated;
	int dev_openings;
	int dev_active;
};
struct cam_devq {
	struct camq send_queue;
	int send_openings;
	int send_active;
};
struct cam_sim {
	const char *sim_name;
	void *softc;
	uint32_t path_id;
	uint32_t unit_number;
	uint32_t bus_id;
	struct cam_devq *devq;
};
struct cam_eb {
	TAILQ_HEAD(, cam_et) et_entries;
	TAILQ_ENTRY(cam_eb) links;
	uint32_t path_id;
	struct cam_sim *sim;
};
struct cam_et {
	TAILQ_HEAD(, cam_ed) ed_entries;
	TAILQ_ENTRY(cam_et) links;
	struct cam_eb *bus;
	uint32_t target_id;
};
struct scsi_inquiry_data {
	uint8_t device;
	char vendor[8];
	char product[16];
	char revision[4];
};
struct ata_params {
	char serial[20];
	char revision[8];
	char model[40];
};
enum cam_proto {
	PROTO_UNKNOWN = 0,
	PROTO_UNSPECIFIED,
	PROTO_SCSI,
	PROTO_ATA
};
enum cam_xport {
	XPORT_UNKNOWN = 0,
	XPORT_UNSPECIFIED,
	XPORT_ATA = 7,
	XPORT_SAS,
	XPORT_SATA
};
struct cam_ed {
	TAILQ_ENTRY(cam_ed) links;
	struct cam_et *target;
	uint64_t lun_id;
	struct cam_ccbq ccbq;
	SLIST_HEAD(periph_list, cam_periph) periphs;
	enum cam_proto protocol;
	enum cam_xport transport;
	struct scsi_inquiry_data inq_data;
	struct ata_params ident_data;
	uint8_t serial_num_len;
	char *serial_num;
	uint32_t flags;
};
struct cam_periph {
	char *periph_name;
	void *softc;
	struct cam_sim *sim;
	uint32_t unit_number;
	uint32_t flags;
	int periph_allocated;
	uint32_t refcount;
	SLIST_ENTRY(cam_periph) periph_links;
};
struct xpt_softc {
	uint32_t xpt_generation;
	TAILQ_HEAD(, cam_eb) xpt_busses;
};
static struct xpt_softc xsoftc;

/* sys/buf.h, sys/kern/vfs_bio.c */
struct buf {
	long b_bcount;
	void *b_caller1;
	char *b_data;
	int b_error;
	uint16_t b_iocmd;
	uint16_t b_ioflags;
	int64_t b_iooffset;
	long b_resid;
	int64_t b_blkno;
	int64_t b_offset;
	uint32_t b_vflags;
	uint32_t b_flags;
	long b_bufsize;
	int b_runningbufspace;
	int64_t b_lblkno;
	struct vnode *b_vp;
	int b_npages;
	struct vm_page *b_pages[];
};
struct bufdomain {
	int bd_numdirtybuffers;
	int bd_lodirtybuffers;
	int bd_hidirtybuffers;
	int bd_dirtybufthresh;
	long bd_bufspace;
	long bd_lobufspace;
	long bd_hibufspace;
	int bd_numfreebuffers;
};
static struct bufdomain bdomain[8];
static int buf_domains;
extern int nbuf;
extern int maxbcachebuf;
static char *buf;
static long runningbufspace;
static long lorunningspace;
static long hirunningspace;
static long bufmallocspace;
static int bdirtywait;
static int runningbufreq;
