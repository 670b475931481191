use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// A cache in a folder of its own that vanishes with it.
fn cache() -> (TempDir, Cache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(folder.path().join("secagg"));
    (folder, cache)
}

/// Something that passes for a finished libtorch.
fn make_libtorch(path: &Path) {
    fs::create_dir_all(path.join("lib")).unwrap();
    fs::create_dir_all(path.join("include/torch")).unwrap();
    fs::write(path.join("lib/libtorch_cpu.so"), "a library").unwrap();
    fs::write(path.join("include/torch/torch.h"), "a header").unwrap();
    finish(path).unwrap();
}

/// No Python: whoever asks for one fails.
fn offline() -> Python {
    Python::fixture("no-python3")
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_filled_cache_needs_no_network() {
    let (_folder, cache) = cache();
    make_libtorch(cache.path());
    cache.fill(&offline()).unwrap();
    let script = fs::read_to_string(cache.path().join("lib/libtorch.so")).unwrap();
    assert_eq!(script, "INPUT(-ltorch_cpu)\n");
}

#[test]
fn damage_is_noticed() {
    let (_folder, cache) = cache();
    let damage = |damage: &dyn Fn(&Path)| {
        let _ = fs::remove_dir_all(cache.path());
        make_libtorch(cache.path());
        damage(cache.path());
        inspect(cache.path()).unwrap_err().to_string()
    };
    let found = damage(&|path| fs::remove_file(path.join("lib/libtorch_cpu.so")).unwrap());
    assert_eq!(found, "no file lib/libtorch_cpu.so");
    let found = damage(&|path| fs::write(path.join("include/torch/torch.h"), "a").unwrap());
    assert_eq!(found, "include/torch/torch.h has 1 bytes, not 8");
    let found = damage(&|path| fs::write(path.join("build-version"), "2.10.0\n").unwrap());
    assert_eq!(found, "build-version says 2.10.0, not 2.11.0");
    let found = damage(&|path| fs::remove_file(path.join(MANIFEST)).unwrap());
    assert_eq!(found, "no file manifest");
}

#[test]
fn a_failed_fetch_leaves_nothing_behind() {
    let (_folder, cache) = cache();
    let error = cache
        .fill(&Python::fixture("pip-without-network"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("No matching distribution found"), "{error}");
    assert_eq!(names_in(&cache.folder), ["lock"]);
}

#[test]
fn another_wheel_than_the_pinned_one_is_refused() {
    let (_folder, cache) = cache();
    let error = cache
        .fill(&Python::fixture("pip-with-other-wheels"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("torch 2.11.0 is not the pinned one"),
        "{error}"
    );
    assert_eq!(names_in(&cache.folder), ["lock"]);
}

#[test]
fn what_a_killed_run_has_left_is_removed() {
    let (_folder, cache) = cache();
    fs::create_dir_all(cache.folder.join(".unfinished-1-0/wheels")).unwrap();
    fs::create_dir_all(
        cache
            .folder
            .join("libtorch-2.11.0-cpu-of-an-older-checkout"),
    )
    .unwrap();
    cache.fill(&offline()).unwrap_err();
    assert_eq!(
        names_in(&cache.folder),
        ["libtorch-2.11.0-cpu-of-an-older-checkout", "lock"]
    );
}

#[test]
fn a_damaged_libtorch_is_replaced() {
    let (_folder, cache) = cache();
    make_libtorch(cache.path());
    fs::remove_file(cache.path().join("build-version")).unwrap();

    let unfinished = Unfinished::new(&cache.folder).unwrap();
    let finished = unfinished.path.join("libtorch");
    make_libtorch(&finished);
    cache.publish(&finished).unwrap();
    drop(unfinished);
    inspect(cache.path()).unwrap();
    assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1);
}

#[test]
fn the_faster_of_two_runs_wins() {
    let (_folder, cache) = cache();
    make_libtorch(cache.path());
    fs::write(cache.path().join("first"), "").unwrap();

    let unfinished = Unfinished::new(&cache.folder).unwrap();
    let finished = unfinished.path.join("libtorch");
    make_libtorch(&finished);
    cache.publish(&finished).unwrap();
    drop(unfinished);
    assert!(cache.path().join("first").exists());
    assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1);
}

#[test]
fn the_link_is_made_and_moved_but_never_replaces_a_folder() {
    let (folder, cache) = cache();
    make_libtorch(cache.path());
    let link = folder.path().join("target/libtorch");

    cache.link_to(&link).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), cache.path());
    cache.link_to(&link).unwrap();

    fs::remove_file(&link).unwrap();
    symlink("/nowhere", &link).unwrap();
    cache.link_to(&link).unwrap();
    assert_eq!(fs::read_link(&link).unwrap(), cache.path());
    assert_eq!(names_in(&folder.path().join("target")), ["libtorch"]);

    fs::remove_file(&link).unwrap();
    fs::create_dir(&link).unwrap();
    let error = cache.link_to(&link).unwrap_err().to_string();
    assert!(error.contains("is not a link: remove it"), "{error}");
}
