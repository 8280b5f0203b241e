//! A hundred seeds, and that a seed is one history: again the same. The binary runs them, in processes of their own.

use std::process::{Command, Output};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Milliseconds of simulated time with faults for each seed.
const MILLIS: &str = "5000";

fn simulation(args: &[&str]) -> Result<Output> {
    Ok(Command::new(env!("CARGO_BIN_EXE_simulation")).args(["--millis", MILLIS]).args(args).output()?)
}

#[test]
fn a_hundred_seeds_find_nothing() -> Result {
    let output = simulation(&["--seeds", "100"])?;
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "a seed has failed");
    assert!(said.contains("100 seeds"), "not all were run");
    Ok(())
}

#[test]
fn a_seed_is_one_history() -> Result {
    for seed in ["7", "8", "9"] {
        let (one, other) = (simulation(&["--seed", seed])?, simulation(&["--seed", seed, "--trace"])?);
        let (one, other) = (String::from_utf8(one.stdout)?, String::from_utf8(other.stdout)?);
        assert!(one.contains("\nhash\t"), "{one}");
        // The second says what happens as well, and the same came of it.
        assert!(other.ends_with(&one), "seed {seed} was something else the second time");
    }
    let (one, other) = (simulation(&["--seed", "7"])?, simulation(&["--seed", "8"])?);
    assert_ne!(one.stdout, other.stdout, "two seeds are one history");
    Ok(())
}
