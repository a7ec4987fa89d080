//! A function of the kernel or of a module: made-up code that has a frame.

/// A function, and where in it a call returns to.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    pub address: u64,
    pub size: u64,
    pub after_call: u64,
}

impl Function {
    /// A function of that name at an address: its size is made up of the name.
    pub fn new(name: &str, address: u64) -> Self {
        let sum = name.bytes().fold(7_u64, |sum, byte| sum * 31 % 8191 + u64::from(byte));
        let size = (96 + sum % 480) & !15;
        Self { address, size, after_call: address + 24 + sum * 7 % (size - 40) }
    }

    /// Its code: a frame is made, something is called, and the frame is given up.
    pub fn code(self) -> Vec<u8> {
        let mut code = vec![0x90; self.size as usize];
        code[..8].copy_from_slice(&[0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x60]);
        let call = (self.after_call - self.address) as usize - 5;
        code[call..call + 5].copy_from_slice(&[0xe8, 0, 0, 0, 0]);
        let end = code.len() - 6;
        code[end..].copy_from_slice(&[0x48, 0x83, 0xc4, 0x60, 0x5d, 0xc3]);
        code
    }
}
