//! The files that the running kernel has linked, as kldnext(2) and kldstat(2) list them.

use nix::errno::Errno;
use vmcore::symbols::KernelFile;

/// How often a list that changes while it is read is begun anew.
const ATTEMPTS: u32 = 16;

/// Lists the files that the running kernel has linked, in the order in which they were: `next` is kldnext(2), which
/// takes 0 for the first one and answers 0 behind the last one, and `stat` kldstat(2).
///
/// A module that is unloaded in the meantime has ENOENT for an answer. Asked for its details it is left out; asked for
/// what comes behind it, the list begins anew.
///
/// # Errors
///
/// The kernel's, and ENOENT where modules come and go all the while.
pub fn list_running(
    next: impl Fn(i32) -> Result<i32, Errno>,
    stat: impl Fn(i32) -> Result<KernelFile, Errno>,
) -> Result<Vec<KernelFile>, Errno> {
    for _ in 0..ATTEMPTS {
        match list_once(&next, &stat) {
            Err(Errno::ENOENT) => {}
            listed => return listed,
        }
    }
    Err(Errno::ENOENT)
}

fn list_once(
    next: impl Fn(i32) -> Result<i32, Errno>,
    stat: impl Fn(i32) -> Result<KernelFile, Errno>,
) -> Result<Vec<KernelFile>, Errno> {
    let mut files = Vec::new();
    let mut id = 0;
    loop {
        id = next(id)?;
        if id == 0 {
            return Ok(files);
        }
        match stat(id) {
            Ok(file) => files.push(file),
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// A kernel of which a module is unloaded when it has been asked so many questions.
    struct Kernel {
        files: RefCell<Vec<i32>>,
        questions: RefCell<u32>,
        unload: Vec<(u32, i32)>,
    }

    impl Kernel {
        fn question(&self) {
            let mut questions = self.questions.borrow_mut();
            *questions += 1;
            let gone = |id: &i32| self.unload.iter().any(|(at, unloaded)| at == &*questions && unloaded == id);
            self.files.borrow_mut().retain(|id| !gone(id));
        }

        fn next(&self, id: i32) -> Result<i32, Errno> {
            self.question();
            let files = self.files.borrow();
            let behind = match id {
                0 => 0,
                _ => files.iter().position(|file| *file == id).ok_or(Errno::ENOENT)? + 1,
            };
            Ok(files.get(behind).copied().unwrap_or(0))
        }

        fn stat(&self, id: i32) -> Result<KernelFile, Errno> {
            self.question();
            let name = id.to_string();
            let there = self.files.borrow().contains(&id);
            there.then(|| KernelFile { path: name.clone(), name, address: 0, size: 0 }).ok_or(Errno::ENOENT)
        }
    }

    fn list(unload: &[(u32, i32)]) -> Vec<String> {
        let kernel = Kernel { files: RefCell::new(vec![1, 2, 3]), questions: RefCell::new(0), unload: unload.to_vec() };
        let files = list_running(|id| kernel.next(id), |id| kernel.stat(id)).unwrap();
        files.into_iter().map(|file| file.name).collect()
    }

    #[test]
    fn a_module_that_is_unloaded_meanwhile_does_not_fail_the_list() {
        assert_eq!(list(&[]), ["1", "2", "3"]);
        // The questions: what is first, details of 1, what is behind 1, details of 2, what is behind 2, and so on.
        for at in 1..=7 {
            let listed = list(&[(at, 2)]);
            assert!(listed == ["1", "3"] || (at > 5 && listed == ["1", "2", "3"]), "{at}: {listed:?}");
            let listed = list(&[(at, 3)]);
            assert!(listed == ["1", "2"] || (at > 6 && listed == ["1", "2", "3"]), "{at}: {listed:?}");
        }
        assert_eq!(list(&[(4, 2), (9, 3)]), ["1"]);
    }

    #[test]
    fn a_list_that_never_holds_still_ends_with_an_error_and_so_does_a_refusal() {
        let there = |_| Ok(KernelFile { name: String::new(), path: String::new(), address: 0, size: 0 });
        assert_eq!(list_running(|id| if id == 0 { Ok(1) } else { Err(Errno::ENOENT) }, there), Err(Errno::ENOENT));
        assert_eq!(list_running(|_| Err(Errno::EPERM), there), Err(Errno::EPERM));
        assert_eq!(list_running(|_| Ok(1), |_| Err(Errno::EACCES)), Err(Errno::EACCES));
    }
}
