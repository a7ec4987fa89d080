//! Kernel memory by virtual address: out of any bytes as a dump, out of dumps that are nearly right (see
//! [`memtool_fuzz::recipe`]), and out of images of memory whose page tables lead anywhere.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::{Corpus, fuzz_target};
use memtool_fuzz::{kvm, recipe};

fuzz_target!(|bytes: &[u8]| -> Corpus {
    match run(bytes) {
        Ok(()) => Corpus::Keep,
        Err(_) => Corpus::Reject,
    }
});

fn run(bytes: &[u8]) -> Result<()> {
    let u = &mut Unstructured::new(bytes);
    let kind = u.int_in_range(0..=5_u8)?;
    if kind == 0 {
        let addresses: [u64; 4] = u.arbitrary()?;
        let rest = u.bytes(u.len())?;
        kvm::dumped(rest.to_vec(), &addresses);
        return Ok(());
    }
    if kind <= 2 {
        return kvm::image(u);
    }
    let mut addresses = vec![0, u64::MAX];
    for _ in 0..4 {
        addresses.push(recipe::number(u, 0xffff_fe00_0000_0000)?);
    }
    let made = recipe::make(u)?;
    kvm::dumped(made.dump, &addresses);
    Ok(())
}
