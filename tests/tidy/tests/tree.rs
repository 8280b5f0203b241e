//! All rules, over the files of this repository.

use tidy::tree::{self, File};
use tidy::{Violation, boundaries, conventions, documents, manifests, modules, report, texts};

fn check(rule: impl Fn(&[File]) -> Vec<Violation>) {
    let files = tree::files().expect("the files of the repository");
    assert!(files.len() > 20, "only {} files found in {}", files.len(), tree::root().display());
    let found = rule(&files);
    assert!(found.is_empty(), "{} violations\n{}", found.len(), report(found));
}

fn check_each(rule: impl Fn(&File) -> Vec<Violation>) {
    check(|files| files.iter().flat_map(&rule).collect());
}

#[test]
fn modules_say_what_they_are_for() {
    check_each(modules::head);
}

#[test]
fn files_are_short() {
    check_each(modules::size);
}

#[test]
fn crates_name_nothing_that_they_must_not_know() {
    check_each(boundaries::never);
}

#[test]
fn libraries_stay_at_home() {
    check_each(boundaries::homes);
}

#[test]
fn no_banned_habits() {
    check_each(conventions::habits);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    check_each(manifests::lints);
}

#[test]
fn arrows_are_as_drawn() {
    check_each(manifests::arrows);
}

#[test]
fn tests_that_documents_name_are_there() {
    check(documents::tests);
}

#[test]
fn no_registry_is_named() {
    check_each(texts::registries);
}

#[test]
fn no_machine_path_is_named() {
    check_each(texts::machine_paths);
}

#[test]
fn no_work_is_put_off() {
    check_each(texts::put_off);
}

#[test]
fn links_are_alive() {
    check(documents::links);
}

#[test]
fn decisions_are_numbered_once() {
    check(documents::decisions);
}
