//! Docker's own account of all containers of a run, kept from beginning to end, over restarts of the engine.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::containers::Docker;
use crate::history::{Container, Gap, Nanos};
use crate::now_nanos;

/// Between two tries to reach an engine that does not answer.
const PAUSE: Duration = Duration::from_millis(100);
/// Exit code of what was killed.
const KILLED: i64 = 128 + 9;
/// The longest that Docker may take to tell that something died which it woke for that.
const WAKE: Nanos = 500_000_000;

/// An event as `docker events` writes it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Event {
    #[serde(rename = "Action")]
    action: String,
    #[serde(rename = "Actor")]
    actor: Actor,
    #[serde(rename = "timeNano")]
    at: Nanos,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes")]
    attributes: BTreeMap<String, String>,
}

/// A watch that goes on until it is dropped.
pub struct Evidence {
    events: Arc<Mutex<Vec<Event>>>,
    _reader: JoinSet<()>,
}

impl Evidence {
    /// Begins.
    #[must_use]
    pub fn start(docker: &Docker) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let mut reader = JoinSet::new();
        reader.spawn(follow(docker.clone(), Arc::clone(&events)));
        Self { events, _reader: reader }
    }

    /// The containers so far. `engine` says when the engine was away.
    ///
    /// # Panics
    /// Never: nothing panics while it holds the events.
    #[must_use]
    pub fn containers(&self, engine: &[Gap]) -> Vec<Container> {
        containers(&self.events.lock().unwrap(), engine)
    }
}

async fn follow(docker: Docker, events: Arc<Mutex<Vec<Event>>>) {
    let mut since = now_nanos();
    loop {
        let from = format!("{}.{:09}", since / 1_000_000_000, since % 1_000_000_000);
        let command = docker.command(&[
            "events",
            "--since",
            &from,
            "--filter",
            "type=container",
            "--format",
            "{{json .}}",
        ]);
        let process =
            Command::from(command).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn();
        if let Ok(mut process) = process
            && let Some(output) = process.stdout.take()
        {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(event) = serde_json::from_str::<Event>(&line) else { continue };
                since = since.max(event.at);
                let mut events = events.lock().unwrap();
                // Asked again from a moment on, Docker tells what happened in it once more.
                if !events.iter().rev().take(256).any(|known| *known == event) {
                    events.push(event);
                }
            }
            let _ = process.wait().await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Pure: what became of each container, by its events. An engine that goes away takes its containers with it and does not tell.
fn containers(events: &[Event], engine: &[Gap]) -> Vec<Container> {
    let mut found = BTreeMap::<&str, Container>::new();
    for event in events {
        let label = |name: &str| event.actor.attributes.get(name).cloned();
        let (Some(node), Some(attempt), Some(fence)) =
            (label("troupe.node"), label("troupe.attempt"), label("troupe.fence"))
        else {
            continue;
        };
        let container = found.entry(&event.actor.id).or_insert_with(|| Container {
            id: event.actor.id.clone(),
            node,
            attempt,
            fence: fence.parse().unwrap_or_default(),
            started: None,
            ended: None,
            cut_off: false,
            exit: None,
            still: Vec::new(),
        });
        match event.action.as_str() {
            "start" => container.started = container.started.or(Some(event.at)),
            "die" if container.ended.is_none() => {
                container.ended = Some(event.at);
                container.exit = label("exitCode").and_then(|code| code.parse().ok());
                // Docker wakes what it has killed, so that it can die; it runs nothing.
                if let Some((_, on)) = container.still.last_mut()
                    && container.exit == Some(KILLED)
                    && event.at < on.saturating_add(WAKE)
                {
                    *on = Nanos::MAX;
                }
            }
            "pause" if container.still.last().is_none_or(|(_, on)| *on < Nanos::MAX) => {
                container.still.push((event.at, Nanos::MAX));
            }
            "unpause" => {
                let last = container.still.last_mut().filter(|(_, on)| *on == Nanos::MAX);
                if let Some((_, on)) = last {
                    *on = event.at;
                }
            }
            _ => {}
        }
    }
    for container in found.values_mut() {
        let Some(started) = container.started else { continue };
        let away = engine
            .iter()
            .find(|gap| gap.ended > started && container.ended.is_none_or(|ended| gap.began < ended));
        if let Some(gap) = away {
            container.ended = Some(gap.began.max(started));
            container.cut_off = true;
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::TOO_LATE;

    fn event(action: &str, id: &str, at: Nanos) -> Event {
        let text = format!(
            r#"{{"Action":"{action}","Actor":{{"ID":"{id}","Attributes":{{"troupe.node":"n","troupe.attempt":"R.0/1",
               "troupe.fence":"7"}}}},"time":0,"timeNano":{at}}}"#
        );
        serde_json::from_str(&text).expect("as Docker writes it")
    }

    #[test]
    fn what_stands_still_does_not_run() {
        let events = [("start", 2), ("pause", 4), ("unpause", 7), ("pause", 9), ("die", 12)];
        let events = events.map(|(action, at)| event(action, "a", at));
        let ran = |events: &[Event]| containers(events, &[])[0].ran(20);
        assert_eq!(ran(&events[..1]), [(2, 20)]);
        assert_eq!(ran(&events[..2]), [(2, 4)]);
        assert_eq!(ran(&events[..3]), [(2, 4), (7, 20)]);
        assert_eq!(ran(&events), [(2, 4), (7, 9)]);
        // A second word for the same pause changes nothing.
        let twice = [&events[..2], &events[1..]].concat();
        assert_eq!(ran(&twice), [(2, 4), (7, 9)]);
    }

    #[test]
    fn what_is_killed_while_it_stands_still_does_not_run_again() {
        let mut events: Vec<_> = [("start", 2), ("pause", 4), ("unpause", 7), ("die", 8)]
            .map(|(action, at)| event(action, "a", at))
            .into();
        let ran = |events: &[Event]| containers(events, &[])[0].ran(20);
        assert_eq!(ran(&events), [(2, 4), (7, 8)]);
        events[3].actor.attributes.insert("exitCode".to_owned(), KILLED.to_string());
        assert_eq!(ran(&events), [(2, 4)]);
        events[3].at = 7 + WAKE;
        assert_eq!(ran(&events), [(2, 4), (7, 7 + WAKE)]);
    }

    #[test]
    fn what_came_too_late_never_ran() {
        let mut died = event("die", "a", 4);
        let ran = |died: &Event| containers(&[event("start", "a", 2), died.clone()], &[])[0].ran(20);
        assert_eq!(ran(&died), [(2, 4)]);
        died.actor.attributes.insert("exitCode".to_owned(), "75".to_owned());
        assert_eq!(ran(&died), [(2, 4)]);
        died.actor.attributes.insert("exitCode".to_owned(), TOO_LATE.to_string());
        assert_eq!(ran(&died), []);
    }

    fn lives(events: &[Event], engine: &[Gap]) -> Vec<(Option<Nanos>, Option<Nanos>, bool)> {
        let found = containers(events, engine);
        found.into_iter().map(|container| (container.started, container.ended, container.cut_off)).collect()
    }

    #[test]
    fn a_life_is_from_start_to_end() {
        let events =
            [event("create", "a", 1), event("start", "a", 2), event("kill", "a", 3), event("die", "a", 4)];
        assert_eq!(lives(&events, &[]), [(Some(2), Some(4), false)]);
        assert_eq!(lives(&events[..1], &[]), [(None, None, false)]);
        assert_eq!(containers(&events, &[])[0].fence, 7);
    }

    #[test]
    fn an_engine_that_goes_away_ends_what_ran() {
        let gap = [Gap { node: 0, began: 10, ended: 20 }];
        let of = |events: &[Event]| lives(events, &gap);
        assert_eq!(of(&[event("start", "a", 5)]), [(Some(5), Some(10), true)]);
        assert_eq!(of(&[event("start", "a", 5), event("die", "a", 12)]), [(Some(5), Some(10), true)]);
        assert_eq!(of(&[event("start", "a", 5), event("die", "a", 8)]), [(Some(5), Some(8), false)]);
        assert_eq!(of(&[event("start", "a", 25)]), [(Some(25), None, false)]);
    }
}
