//! Workflow files that this project did not write: read, or refused with a place; never a panic.

use std::fs;
use std::path::{Path, PathBuf};

use workflow::lint;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

fn corpora() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpora");
    let dir = std::env::var_os("TROUPE_CORPORA").map_or(beside, PathBuf::from);
    dir.is_dir().then_some(dir)
}

#[test]
fn every_workflow_of_the_corpus_is_read_or_refused_with_a_place() -> Result {
    let Some(corpora) = corpora() else {
        println!("skipped: no corpora (TROUPE_CORPORA)");
        return Ok(());
    };
    let (mut read, mut refused) = (0, 0);
    for folder in ["workflow-schema-valid", "actions-workflow-reader"] {
        for file in fs::read_dir(corpora.join(folder))? {
            let path = file?.path();
            if !path.extension().is_some_and(|e| e == "yml" || e == "yaml") {
                continue;
            }
            match lint(&fs::read(&path)?) {
                Ok(_) => read += 1,
                Err(found) => {
                    assert!(!found.is_empty(), "{} is refused without a reason", path.display());
                    assert!(
                        found.iter().all(|d| d.line > 0 && d.column > 0),
                        "{}: {found:?}",
                        path.display()
                    );
                    refused += 1;
                }
            }
        }
    }
    println!("{read} read, {refused} refused");
    assert!(refused > 0);
    Ok(())
}
