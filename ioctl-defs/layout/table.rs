//! What has to agree with FreeBSD's headers: C expressions, each with the Rust expression of the same value.
//!
//! Shared by `examples/layout_table.rs`, which has the Rust expressions evaluated for a target, and
//! `tests/layout.rs`, which makes C of the others and compares.

/// Makes `NAMES`, the C expressions, and `VALUES`, what the Rust expressions are here.
///
/// Of a struct, every field has to be listed, and gives two rows: offset and size. A field that only stands for
/// padding of the C struct comes last, behind a semicolon, and gives none.
macro_rules! table {
    (
        structs { $($name:ident { $($field:ident),* $(,)? $(; $padding:ident)? })* }
        values { $($c:literal => $rust:expr,)* }
    ) => {
        /// The C expressions.
        pub const NAMES: &[&str] = &[
            $($(
                concat!("offsetof(struct ", stringify!($name), ", ", stringify!($field), ")"),
                concat!("sizeof(((struct ", stringify!($name), " *)0)->", stringify!($field), ")"),
            )*)*
            $($c,)*
        ];
        /// The values of the Rust expressions.
        pub const VALUES: [u64; NAMES.len()] = [
            $($(
                core::mem::offset_of!($name, $field) as u64,
                $crate::table::field_size(|whole: &$name| &whole.$field),
            )*)*
            $($rust as u64,)*
        ];
        // A field that is missing above does not compile.
        $(const _: fn($name) = |$name { $($field: _,)* $($padding: _)? }| ();)*
    };
}

/// Bytes of the field that `field` selects.
pub const fn field_size<S, F>(_field: fn(&S) -> &F) -> u64 {
    size_of::<F>() as u64
}

/// Eight bytes of a string, the first one lowest, and zeros behind its end: what `WORD` of the C side makes.
pub const fn word(string: &[u8], index: usize) -> u64 {
    let mut rest = string;
    let mut position = 0;
    let mut word = 0;
    while let [byte, tail @ ..] = rest {
        if position / 8 == index {
            word |= (*byte as u64) << (position % 8 * 8);
        }
        position += 1;
        rest = tail;
    }
    word
}

/// The headers that are the same everywhere.
pub mod common {
    use super::{field_size, word};
    use core::mem::offset_of;
    use ioctl_defs::cpuctl::*;
    use ioctl_defs::disk::*;
    use ioctl_defs::kerneldump::*;
    use ioctl_defs::linker::*;
    use ioctl_defs::memrange::*;
    use ioctl_defs::user::*;

    table! {
        structs {
            mem_range_desc { mr_base, mr_len, mr_flags, mr_owner }
            mem_range_op { mo_desc, mo_arg }
            mem_extract { me_vaddr, me_paddr, me_domain, me_state, pad1 }
            mem_livedump_arg { fd, flags, compression, pad1, pad2 }
            kld_sym_lookup { version, symname, symvalue, symsize }
            kld_file_stat { version, name, refs, id, address, size, pathname }
            kerneldumpheader {
                magic,
                architecture,
                version,
                architectureversion,
                dumplength,
                dumptime,
                dumpkeysize,
                blocksize,
                hostname,
                versionstring,
                panicstring,
                compression,
                dumpextent,
                unused,
                parity,
            }
            kinfo_vmentry {
                kve_structsize,
                kve_type,
                kve_start,
                kve_end,
                kve_offset,
                kve_vn_fileid,
                kve_vn_fsid_freebsd11,
                kve_flags,
                kve_resident,
                kve_private_resident,
                kve_protection,
                kve_ref_count,
                kve_shadow_count,
                kve_vn_type,
                kve_vn_size,
                kve_vn_rdev_freebsd11,
                kve_vn_mode,
                kve_status,
                kve_type_spec,
                kve_vn_rdev,
                _kve_ispare,
                kve_path,
            }
            kinfo_vm_layout {
                kvm_min_user_addr,
                kvm_max_user_addr,
                kvm_text_addr,
                kvm_text_size,
                kvm_data_addr,
                kvm_data_size,
                kvm_stack_addr,
                kvm_stack_size,
                kvm_map_flags,
                kvm_shp_addr,
                kvm_shp_size,
                kvm_spare,
            }
            kerneldumpkey { kdk_encryption, kdk_iv, kdk_encryptedkeysize }
        }
        values {
            "sizeof(struct mem_range_desc)" => size_of::<mem_range_desc>(),
            "sizeof(struct mem_range_op)" => size_of::<mem_range_op>(),
            "sizeof(struct mem_extract)" => size_of::<mem_extract>(),
            "sizeof(struct mem_livedump_arg)" => size_of::<mem_livedump_arg>(),
            "sizeof(struct kld_sym_lookup)" => size_of::<kld_sym_lookup>(),
            "sizeof(struct kld_file_stat)" => size_of::<kld_file_stat>(),
            "sizeof(cpuctl_msr_args_t)" => size_of::<cpuctl_msr_args_t>(),
            "offsetof(cpuctl_msr_args_t, msr)" => offset_of!(cpuctl_msr_args_t, msr),
            "sizeof(((cpuctl_msr_args_t *)0)->msr)" => field_size(|args: &cpuctl_msr_args_t| &args.msr),
            "offsetof(cpuctl_msr_args_t, data)" => offset_of!(cpuctl_msr_args_t, data),
            "sizeof(((cpuctl_msr_args_t *)0)->data)" => field_size(|args: &cpuctl_msr_args_t| &args.data),
            "sizeof(cpuctl_cpuid_args_t)" => size_of::<cpuctl_cpuid_args_t>(),
            "offsetof(cpuctl_cpuid_args_t, level)" => offset_of!(cpuctl_cpuid_args_t, level),
            "sizeof(((cpuctl_cpuid_args_t *)0)->level)" => field_size(|args: &cpuctl_cpuid_args_t| &args.level),
            "offsetof(cpuctl_cpuid_args_t, data)" => offset_of!(cpuctl_cpuid_args_t, data),
            "sizeof(((cpuctl_cpuid_args_t *)0)->data)" => field_size(|args: &cpuctl_cpuid_args_t| &args.data),
            "CPUCTL_RDMSR" => CPUCTL_RDMSR,
            "CPUCTL_CPUID" => CPUCTL_CPUID,
            "MAXPATHLEN" => MAXPATHLEN,
            "sizeof(struct kinfo_vmentry)" => size_of::<kinfo_vmentry>(),
            "sizeof(struct kinfo_vm_layout)" => size_of::<kinfo_vm_layout>(),
            "sizeof(struct kerneldumpheader)" => size_of::<kerneldumpheader>(),
            "sizeof(struct kerneldumpkey)" => size_of::<kerneldumpkey>(),
            "offsetof(struct kerneldumpkey, kdk_encryptedkey)" => size_of::<kerneldumpkey>(),

            "MEMRANGE_GET" => MEMRANGE_GET,
            "MEMRANGE_SET" => MEMRANGE_SET,
            "MEM_EXTRACT_PADDR" => MEM_EXTRACT_PADDR,
            "MEM_KERNELDUMP" => MEM_KERNELDUMP,

            "DIOCGSECTORSIZE" => DIOCGSECTORSIZE,
            "DIOCGMEDIASIZE" => DIOCGMEDIASIZE,

            "MDF_UNCACHEABLE" => Mdf::UNCACHEABLE.bits(),
            "MDF_WRITECOMBINE" => Mdf::WRITECOMBINE.bits(),
            "MDF_WRITETHROUGH" => Mdf::WRITETHROUGH.bits(),
            "MDF_WRITEBACK" => Mdf::WRITEBACK.bits(),
            "MDF_WRITEPROTECT" => Mdf::WRITEPROTECT.bits(),
            "MDF_UNKNOWN" => Mdf::UNKNOWN.bits(),
            "MDF_ATTRMASK" => Mdf::ATTRMASK.bits(),
            "MDF_FIXBASE" => Mdf::FIXBASE.bits(),
            "MDF_FIXLEN" => Mdf::FIXLEN.bits(),
            "MDF_FIRMWARE" => Mdf::FIRMWARE.bits(),
            "MDF_ACTIVE" => Mdf::ACTIVE.bits(),
            "MDF_BOGUS" => Mdf::BOGUS.bits(),
            "MDF_FIXACTIVE" => Mdf::FIXACTIVE.bits(),
            "MDF_BUSY" => Mdf::BUSY.bits(),
            // The sign bit of an int.
            "(uint32_t)MDF_FORCE" => Mdf::FORCE.bits(),

            "MEMRANGE_SET_UPDATE" => MEMRANGE_SET_UPDATE.cast_unsigned(),
            "MEMRANGE_SET_REMOVE" => MEMRANGE_SET_REMOVE.cast_unsigned(),
            "ME_STATE_INVALID" => ME_STATE_INVALID.cast_unsigned(),
            "ME_STATE_VALID" => ME_STATE_VALID.cast_unsigned(),
            "ME_STATE_MAPPED" => ME_STATE_MAPPED.cast_unsigned(),

            "KLDSYM_LOOKUP" => KLDSYM_LOOKUP.cast_unsigned(),

            "CTL_KERN" => CTL_KERN.cast_unsigned(),
            "KERN_PROC" => KERN_PROC.cast_unsigned(),
            "KERN_PROC_ARGS" => KERN_PROC_ARGS.cast_unsigned(),
            "KERN_PROC_PATHNAME" => KERN_PROC_PATHNAME.cast_unsigned(),
            "KERN_PROC_VMMAP" => KERN_PROC_VMMAP.cast_unsigned(),
            "KERN_PROC_VM_LAYOUT" => KERN_PROC_VM_LAYOUT.cast_unsigned(),
            "KVME_TYPE_NONE" => KVME_TYPE_NONE.cast_unsigned(),
            "KVME_TYPE_DEFAULT" => KVME_TYPE_DEFAULT.cast_unsigned(),
            "KVME_TYPE_VNODE" => KVME_TYPE_VNODE.cast_unsigned(),
            "KVME_TYPE_SWAP" => KVME_TYPE_SWAP.cast_unsigned(),
            "KVME_TYPE_DEVICE" => KVME_TYPE_DEVICE.cast_unsigned(),
            "KVME_TYPE_PHYS" => KVME_TYPE_PHYS.cast_unsigned(),
            "KVME_TYPE_DEAD" => KVME_TYPE_DEAD.cast_unsigned(),
            "KVME_TYPE_SG" => KVME_TYPE_SG.cast_unsigned(),
            "KVME_TYPE_MGTDEVICE" => KVME_TYPE_MGTDEVICE.cast_unsigned(),
            "KVME_TYPE_GUARD" => KVME_TYPE_GUARD.cast_unsigned(),
            "KVME_TYPE_UNKNOWN" => KVME_TYPE_UNKNOWN.cast_unsigned(),
            "KVME_PROT_READ" => KVME_PROT_READ.cast_unsigned(),
            "KVME_PROT_WRITE" => KVME_PROT_WRITE.cast_unsigned(),
            "KVME_PROT_EXEC" => KVME_PROT_EXEC.cast_unsigned(),
            "KVME_MAX_PROT_READ" => KVME_MAX_PROT_READ.cast_unsigned(),
            "KVME_MAX_PROT_WRITE" => KVME_MAX_PROT_WRITE.cast_unsigned(),
            "KVME_MAX_PROT_EXEC" => KVME_MAX_PROT_EXEC.cast_unsigned(),
            "KVME_FLAG_COW" => KVME_FLAG_COW.cast_unsigned(),
            "KVME_FLAG_NEEDS_COPY" => KVME_FLAG_NEEDS_COPY.cast_unsigned(),
            "KVME_FLAG_NOCOREDUMP" => KVME_FLAG_NOCOREDUMP.cast_unsigned(),
            "KF_ATTR_VALID" => KF_ATTR_VALID.cast_unsigned(),
            "KVME_FLAG_SUPER" => KVME_FLAG_SUPER.cast_unsigned(),
            "KVME_FLAG_GROWS_UP" => KVME_FLAG_GROWS_UP.cast_unsigned(),
            "KVME_FLAG_GROWS_DOWN" => KVME_FLAG_GROWS_DOWN.cast_unsigned(),
            "KVME_FLAG_USER_WIRED" => KVME_FLAG_USER_WIRED.cast_unsigned(),
            "KVME_FLAG_SYSVSHM" => KVME_FLAG_SYSVSHM.cast_unsigned(),
            "KVME_FLAG_POSIXSHM" => KVME_FLAG_POSIXSHM.cast_unsigned(),

            "KERNELDUMP_COMP_NONE" => KERNELDUMP_COMP_NONE,
            "KERNELDUMP_COMP_GZIP" => KERNELDUMP_COMP_GZIP,
            "KERNELDUMP_COMP_ZSTD" => KERNELDUMP_COMP_ZSTD,
            "KERNELDUMP_ENC_AES_256_CBC" => KERNELDUMP_ENC_AES_256_CBC,
            "KERNELDUMP_ENC_CHACHA20" => KERNELDUMP_ENC_CHACHA20,
            "KERNELDUMP_IV_MAX_SIZE" => KERNELDUMP_IV_MAX_SIZE,
            "KERNELDUMP_KEY_MAX_SIZE" => KERNELDUMP_KEY_MAX_SIZE,
            "KERNELDUMP_ENCKEY_MAX_SIZE" => KERNELDUMP_ENCKEY_MAX_SIZE,
            "sizeof(KERNELDUMPMAGIC) - 1" => KERNELDUMPMAGIC.len(),
            "WORD(KERNELDUMPMAGIC, 0)" => word(KERNELDUMPMAGIC, 0),
            "WORD(KERNELDUMPMAGIC, 1)" => word(KERNELDUMPMAGIC, 1),
            "WORD(KERNELDUMPMAGIC, 2)" => word(KERNELDUMPMAGIC, 2),
            "sizeof(TEXTDUMPMAGIC) - 1" => TEXTDUMPMAGIC.len(),
            "WORD(TEXTDUMPMAGIC, 0)" => word(TEXTDUMPMAGIC, 0),
            "WORD(TEXTDUMPMAGIC, 1)" => word(TEXTDUMPMAGIC, 1),
            "WORD(TEXTDUMPMAGIC, 2)" => word(TEXTDUMPMAGIC, 2),
            "sizeof(KERNELDUMPMAGIC_CLEARED) - 1" => KERNELDUMPMAGIC_CLEARED.len(),
            "WORD(KERNELDUMPMAGIC_CLEARED, 0)" => word(KERNELDUMPMAGIC_CLEARED, 0),
            "WORD(KERNELDUMPMAGIC_CLEARED, 1)" => word(KERNELDUMPMAGIC_CLEARED, 1),
            "WORD(KERNELDUMPMAGIC_CLEARED, 2)" => word(KERNELDUMPMAGIC_CLEARED, 2),
            "KERNELDUMPVERSION" => KERNELDUMPVERSION,
            "KERNELDUMP_AMD64_VERSION" => KERNELDUMP_AMD64_VERSION,
            "KERNELDUMP_AARCH64_VERSION" => KERNELDUMP_AARCH64_VERSION,
            "KERNELDUMP_ARM_VERSION" => KERNELDUMP_ARM_VERSION,
            "KERNELDUMP_I386_VERSION" => KERNELDUMP_I386_VERSION,
            "KERNELDUMP_POWERPC_VERSION" => KERNELDUMP_POWERPC_VERSION,
            "KERNELDUMP_RISCV_VERSION" => KERNELDUMP_RISCV_VERSION,
        }
    }
}

// machine/minidump.h: our structs have alignment 1, so where the fields do not fill the C struct up, its
// size is that of ours, rounded up to the alignment of its u64 fields.

/// `machine/minidump.h` of amd64.
pub mod amd64 {
    use super::word;
    use ioctl_defs::minidump::amd64::*;
    use ioctl_defs::vmm::*;

    table! {
        structs {
            vm_memmap { gpa, segid, segoff, len, prot, flags }
            minidumphdr {
                magic,
                version,
                msgbufsize,
                bitmapsize,
                pmapsize,
                kernbase,
                dmapbase,
                dmapend,
                dumpavailsize,
            }
        }
        values {
            "sizeof(struct vm_memmap)" => size_of::<vm_memmap>(),
            "VM_MMAP_GETNEXT" => VM_MMAP_GETNEXT,
            "VM_PROT_READ" => VM_PROT_READ.cast_unsigned(),
            "sizeof(struct minidumphdr)" => size_of::<minidumphdr>().next_multiple_of(8),
            "sizeof(MINIDUMP_MAGIC) - 1" => MINIDUMP_MAGIC.len(),
            "WORD(MINIDUMP_MAGIC, 0)" => word(MINIDUMP_MAGIC, 0),
            "WORD(MINIDUMP_MAGIC, 1)" => word(MINIDUMP_MAGIC, 1),
            "WORD(MINIDUMP_MAGIC, 2)" => word(MINIDUMP_MAGIC, 2),
            "MINIDUMP_VERSION" => MINIDUMP_VERSION,
        }
    }
}

/// `machine/minidump.h` of arm64.
pub mod arm64 {
    use super::word;
    use ioctl_defs::minidump::arm64::*;
    use ioctl_defs::vmm::*;

    table! {
        structs {
            vm_memmap { gpa, segid, segoff, len, prot, flags }
            minidumphdr {
                magic,
                version,
                msgbufsize,
                bitmapsize,
                pmapsize,
                kernbase,
                dmapphys,
                dmapbase,
                dmapend,
                dumpavailsize,
                flags,
            }
        }
        values {
            "sizeof(struct vm_memmap)" => size_of::<vm_memmap>(),
            "VM_MMAP_GETNEXT" => VM_MMAP_GETNEXT,
            "VM_PROT_READ" => VM_PROT_READ.cast_unsigned(),
            "sizeof(struct minidumphdr)" => size_of::<minidumphdr>(),
            "sizeof(MINIDUMP_MAGIC) - 1" => MINIDUMP_MAGIC.len(),
            "WORD(MINIDUMP_MAGIC, 0)" => word(MINIDUMP_MAGIC, 0),
            "WORD(MINIDUMP_MAGIC, 1)" => word(MINIDUMP_MAGIC, 1),
            "WORD(MINIDUMP_MAGIC, 2)" => word(MINIDUMP_MAGIC, 2),
            "MINIDUMP_VERSION" => MINIDUMP_VERSION,
        }
    }
}

/// `machine/minidump.h` of riscv.
pub mod riscv {
    use super::word;
    use ioctl_defs::minidump::riscv::*;

    table! {
        structs {
            minidumphdr {
                magic,
                version,
                msgbufsize,
                bitmapsize,
                pmapsize,
                kernbase,
                dmapphys,
                dmapbase,
                dmapend,
                dumpavailsize,
            }
        }
        values {
            "sizeof(struct minidumphdr)" => size_of::<minidumphdr>().next_multiple_of(8),
            "sizeof(MINIDUMP_MAGIC) - 1" => MINIDUMP_MAGIC.len(),
            "WORD(MINIDUMP_MAGIC, 0)" => word(MINIDUMP_MAGIC, 0),
            "WORD(MINIDUMP_MAGIC, 1)" => word(MINIDUMP_MAGIC, 1),
            "WORD(MINIDUMP_MAGIC, 2)" => word(MINIDUMP_MAGIC, 2),
            "MINIDUMP_VERSION" => MINIDUMP_VERSION,
        }
    }
}

/// `machine/minidump.h` of i386.
pub mod i386 {
    use super::word;
    use ioctl_defs::minidump::i386::*;

    table! {
        structs {
            minidumphdr {
                magic,
                version,
                msgbufsize,
                bitmapsize,
                ptesize,
                kernbase,
                paemode,
                dumpavailsize,
            }
        }
        values {
            "sizeof(struct minidumphdr)" => size_of::<minidumphdr>(),
            "sizeof(MINIDUMP_MAGIC) - 1" => MINIDUMP_MAGIC.len(),
            "WORD(MINIDUMP_MAGIC, 0)" => word(MINIDUMP_MAGIC, 0),
            "WORD(MINIDUMP_MAGIC, 1)" => word(MINIDUMP_MAGIC, 1),
            "WORD(MINIDUMP_MAGIC, 2)" => word(MINIDUMP_MAGIC, 2),
            "MINIDUMP_VERSION" => MINIDUMP_VERSION,
        }
    }
}

/// `machine/minidump.h` of arm.
pub mod arm {
    use super::word;
    use ioctl_defs::minidump::arm::*;

    table! {
        structs {
            minidumphdr {
                magic,
                version,
                msgbufsize,
                bitmapsize,
                ptesize,
                kernbase,
                arch,
                mmuformat,
                dumpavailsize,
            }
        }
        values {
            "sizeof(struct minidumphdr)" => size_of::<minidumphdr>(),
            "sizeof(MINIDUMP_MAGIC) - 1" => MINIDUMP_MAGIC.len(),
            "WORD(MINIDUMP_MAGIC, 0)" => word(MINIDUMP_MAGIC, 0),
            "WORD(MINIDUMP_MAGIC, 1)" => word(MINIDUMP_MAGIC, 1),
            "WORD(MINIDUMP_MAGIC, 2)" => word(MINIDUMP_MAGIC, 2),
            "MINIDUMP_VERSION" => MINIDUMP_VERSION,
            "MINIDUMP_MMU_FORMAT_UNKNOWN" => MINIDUMP_MMU_FORMAT_UNKNOWN,
            "MINIDUMP_MMU_FORMAT_V4" => MINIDUMP_MMU_FORMAT_V4,
            "MINIDUMP_MMU_FORMAT_V6" => MINIDUMP_MMU_FORMAT_V6,
            "MINIDUMP_MMU_FORMAT_V6_LPAE" => MINIDUMP_MMU_FORMAT_V6_LPAE,
        }
    }
}

/// `machine/minidump.h` of powerpc64.
pub mod powerpc64 {
    use super::word;
    use ioctl_defs::minidump::powerpc64::*;

    table! {
        structs {
            minidumphdr {
                magic,
                mmu_name,
                version,
                msgbufsize,
                bitmapsize,
                pmapsize,
                kernbase,
                kernend,
                dmapbase,
                dmapend,
                hw_direct_map,
                startkernel,
                endkernel,
                dumpavailsize;
                padding
            }
        }
        values {
            "sizeof(struct minidumphdr)" => size_of::<minidumphdr>().next_multiple_of(8),
            "sizeof(MINIDUMP_MAGIC) - 1" => MINIDUMP_MAGIC.len(),
            "WORD(MINIDUMP_MAGIC, 0)" => word(MINIDUMP_MAGIC, 0),
            "WORD(MINIDUMP_MAGIC, 1)" => word(MINIDUMP_MAGIC, 1),
            "WORD(MINIDUMP_MAGIC, 2)" => word(MINIDUMP_MAGIC, 2),
            "WORD(MINIDUMP_MAGIC, 3)" => word(MINIDUMP_MAGIC, 3),
            "MINIDUMP_VERSION" => MINIDUMP_VERSION,
        }
    }
}
