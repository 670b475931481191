//! Requests to valgrind's memcheck: which bytes are secret. Without valgrind they do nothing.
//!
//! Memcheck reports every branch and every address that depends on undefined bytes, and follows
//! them through arithmetic bit by bit. A secret that is declared undefined is thus a secret whose
//! every influence on time is reported (A. Langley's ctgrind).
#![allow(
    unsafe_code,
    reason = "a request is a sequence of instructions that valgrind recognises; its crates need \
              valgrind's headers, which are not on every machine"
)]

use std::mem::size_of_val;

/// The numbers of `valgrind.h` and `memcheck.h`.
const RUNNING_ON_VALGRIND: usize = 0x1001;
const COUNT_ERRORS: usize = 0x1201;
const MAKE_MEM_UNDEFINED: usize = 0x4d43_0001;
const MAKE_MEM_DEFINED: usize = 0x4d43_0002;
const GET_VBITS: usize = 0x4d43_0008;

/// Whether the process runs under valgrind.
#[must_use]
pub fn is_running() -> bool {
    request(RUNNING_ON_VALGRIND, [0; 3]) != 0
}

/// From here on the bytes of this value, and not those behind its pointers, are secret.
pub fn conceal<T: ?Sized>(value: &T) {
    mark(MAKE_MEM_UNDEFINED, value);
}

/// From here on the bytes of this value, and not those behind its pointers, are public.
pub fn publish<T: ?Sized>(value: &T) {
    mark(MAKE_MEM_DEFINED, value);
}

/// How many of these bytes depend on a secret.
#[must_use]
pub fn secret_bytes(bytes: &[u8]) -> usize {
    let mut undefined = vec![0_u8; bytes.len()];
    let from = bytes.as_ptr().expose_provenance();
    let to = undefined.as_mut_ptr().expose_provenance();
    request(GET_VBITS, [from, to, bytes.len()]);
    undefined.iter().filter(|bits| **bits != 0).count()
}

/// How many branches and addresses that depend on a secret were executed so far.
#[must_use]
pub fn findings() -> usize {
    request(COUNT_ERRORS, [0; 3])
}

fn mark<T: ?Sized>(kind: usize, value: &T) {
    let address = std::ptr::from_ref(value).cast::<u8>().expose_provenance();
    request(kind, [address, size_of_val(value), 0]);
}

/// Valgrind's answer; 0 where it does not run.
#[cfg(target_arch = "x86_64")]
fn request(kind: usize, [a, b, c]: [usize; 3]) -> usize {
    let arguments = [kind, a, b, c, 0, 0];
    let mut answer = 0;
    // SAFETY: the rotations add up to two whole turns, and `xchg rbx, rbx` does nothing: but for
    // the flags nothing changes. Under valgrind the answer comes in rdx, and memory is written by
    // GET_VBITS only, whose target is a buffer of the right length.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") answer,
            options(nostack),
        );
    }
    answer
}

/// Valgrind's answer; 0 where it does not run.
#[cfg(target_arch = "aarch64")]
fn request(kind: usize, [a, b, c]: [usize; 3]) -> usize {
    let arguments = [kind, a, b, c, 0, 0];
    let mut answer = 0;
    // SAFETY: as above: the rotations are whole turns, and `orr x10, x10, x10` does nothing.
    unsafe {
        std::arch::asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            in("x4") arguments.as_ptr(),
            inout("x3") answer,
            options(nostack),
        );
    }
    answer
}

/// Elsewhere there is no valgrind to ask.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn request(_kind: usize, _arguments: [usize; 3]) -> usize {
    0
}
