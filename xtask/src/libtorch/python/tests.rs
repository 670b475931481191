use std::fs;

use super::*;
use crate::libtorch::pins::WHEELS;

fn download(python: &Python) -> String {
    let folder = tempfile::tempdir().unwrap();
    let error = python.download(&folder.path().join("requirements.txt"), folder.path());
    error.unwrap_err().to_string()
}

#[test]
fn a_failed_pip_is_one_error_with_its_last_lines_and_a_way_out() {
    let error = download(&Python::fixture("pip-without-network"));
    assert!(
        error.starts_with("libtorch cannot be fetched: `pip download` failed"),
        "{error}"
    );
    assert!(error.contains("ERROR: No matching distribution found for torch==2.11.0"));
    assert!(!error.contains("line 1 of many"), "{error}");
    assert!(error.contains("LIBTORCH=/path/to/libtorch"), "{error}");
}

#[test]
fn a_missing_pip_is_named() {
    let error = download(&Python::fixture("python-without-pip"));
    assert!(error.contains("python3 has no pip"), "{error}");
    assert!(error.contains("apt-get install python3-pip"), "{error}");
}

#[test]
fn a_missing_python_is_named() {
    let error = download(&Python::fixture("no-python3"));
    assert!(
        error.contains("there is no") && error.contains("apt-get install"),
        "{error}"
    );
}

#[test]
fn extracting_takes_the_listed_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let wheel = folder.path().join("torch.whl");
    let make = r#"
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as archive:
    for name in ["include/a/b.h", "lib/libtorch_cpu.so", "lib/libc10.so", "lib/libgomp-1.so.1",
                 "lib/libtorch_cuda.so", "version.py"]:
        archive.writestr("torch/" + name, name)
"#;
    let made = Command::new("python3")
        .args(["-c", make])
        .arg(&wheel)
        .status()
        .unwrap();
    assert!(made.success());

    let into = folder.path().join("into");
    Python::default()
        .extract(&WHEELS[0], &wheel, &into)
        .unwrap();
    assert_eq!(
        fs::read_to_string(into.join("include/a/b.h")).unwrap(),
        "include/a/b.h"
    );
    let mut libraries: Vec<_> = fs::read_dir(into.join("lib"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    libraries.sort();
    assert_eq!(
        libraries,
        ["libc10.so", "libgomp-1.so.1", "libtorch_cpu.so"]
    );
    assert!(!into.join("version.py").exists());

    let error = Python::default()
        .extract(&WHEELS[1], &wheel, &into)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("holds nothing that starts with nvidia/cu13"),
        "{error}"
    );
}
