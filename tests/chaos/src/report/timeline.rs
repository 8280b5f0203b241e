//! A run as a picture: nodes as rows, time from left to right; who led, what ran, what was done to whom.

use std::fmt::Write as _;

use crate::faults::Lane;
use crate::history::{History, MILLI, Nanos};

const LEFT: f64 = 80.0;
const WIDTH: f64 = 1400.0;
const ROW: f64 = 90.0;
const TOP: f64 = 40.0;
/// How long a claim to lead stands for: they are asked for about so often.
const CLAIM: Nanos = 700 * MILLI;

struct Scale {
    began: Nanos,
    length: f64,
}

impl Scale {
    fn x(&self, at: Nanos) -> f64 {
        LEFT + (at.saturating_sub(self.began) as f64 / self.length).min(1.0) * WIDTH
    }

    fn bar(
        &self,
        text: &mut String,
        (from, to): (Nanos, Nanos),
        (y, height): (f64, f64),
        fill: &str,
        title: &str,
    ) {
        let (x, width) = (self.x(from), (self.x(to) - self.x(from)).max(1.0));
        let _ = writeln!(
            text,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{fill}"><title>{}</title></rect>"#,
            escaped(title)
        );
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The picture, as SVG.
#[must_use]
pub fn timeline(history: &History) -> String {
    let scale =
        Scale { began: history.began, length: history.ended.saturating_sub(history.began).max(1) as f64 };
    let height = TOP + ROW * history.nodes.len() as f64 + 60.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        LEFT + WIDTH + 20.0
    );
    for (number, node) in history.nodes.iter().enumerate() {
        let y = TOP + ROW * number as f64;
        let _ = writeln!(text, r#"<text x="8" y="{}">{}</text>"#, y + 20.0, escaped(&node.name));
        row(history, &scale, number, y, &mut text);
    }
    for gap in &history.engine {
        scale.bar(&mut text, (gap.began, gap.ended), (TOP - 12.0, 6.0), "#000", "the engine is away");
    }
    axis(history, &scale, height, &mut text);
    text.push_str("</svg>\n");
    text
}

fn row(history: &History, scale: &Scale, number: usize, y: f64, text: &mut String) {
    scale.bar(text, (history.began, history.ended), (y, ROW - 12.0), "#f4f4f4", &history.nodes[number].name);
    for gap in history.gaps.iter().filter(|gap| gap.node == number) {
        scale.bar(
            text,
            (gap.began, gap.ended.min(history.ended)),
            (y, ROW - 12.0),
            "#d0d0d0",
            "dead or stopped",
        );
    }
    let mut began: Option<(Nanos, Nanos)> = None;
    let claims = history.claims.iter().filter(|claim| claim.node == number).map(|claim| claim.at);
    for at in claims.chain([Nanos::MAX]) {
        match began {
            Some((from, last)) if at.saturating_sub(last) > CLAIM => {
                scale.bar(text, (from, last), (y, 5.0), "#2a7", "leads");
                began = Some((at, at));
            }
            Some((from, _)) => began = Some((from, at)),
            None => began = Some((at, at)),
        }
    }
    for fault in history.faults.iter().filter(|fault| fault.nodes.contains(&number)) {
        let (at, fill) = match fault.class.lane() {
            Lane::Process => (8.0, "#c33"),
            Lane::Network => (16.0, "#e80"),
            Lane::Machine => (24.0, "#85c"),
        };
        let title = format!("{} {}", fault.class.name(), fault.words);
        scale.bar(text, (fault.began, fault.ended), (y + at, 6.0), fill, &title);
    }
    // Side by side where they ran at one time.
    let mut rows: Vec<Nanos> = Vec::new();
    let mut mine: Vec<_> = history
        .containers
        .iter()
        .filter(|container| container.node == history.nodes[number].id)
        .filter_map(|container| {
            Some((container.started?, container.ended.unwrap_or(history.ended), container))
        })
        .collect();
    mine.sort_by_key(|(started, ..)| *started);
    for (started, ended, container) in mine {
        let free = rows.iter().position(|until| *until <= started).unwrap_or(rows.len());
        if free == rows.len() {
            rows.push(ended);
        }
        rows[free] = ended;
        let title = format!("{} fence {}", container.attempt, container.fence);
        let first = container.attempt.ends_with("/1");
        let fill = if first { "#48c" } else { "#c4c" };
        scale.bar(text, (started, ended), (y + 34.0 + 11.0 * free as f64, 9.0), fill, &title);
    }
}

fn axis(history: &History, scale: &Scale, height: f64, text: &mut String) {
    let line = |text: &mut String, at: Nanos, words: &str| {
        let x = scale.x(at);
        let _ = writeln!(
            text,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{}\" stroke=\"#888\" stroke-dasharray=\"2\"/>\
             <text x=\"{x:.1}\" y=\"{}\">{words}</text>",
            height - 40.0,
            height - 26.0
        );
    };
    let seconds = (scale.length / 1e9) as u64;
    for second in (0..seconds).step_by((seconds as usize / 12).max(1)) {
        line(text, history.began + second * 1000 * MILLI, &format!("{second} s"));
    }
    line(text, history.healed, "healed");
    let legend = "green: leads; grey: away; red: process; orange: network; violet: disk and clock; blue: first attempts; \
                  pink: later ones; black: no engine";
    let _ = writeln!(text, r#"<text x="{LEFT}" y="{}">{legend}</text>"#, height - 8.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::Class;
    use crate::history::{Claim, Container, Fault, Node};

    #[test]
    fn a_picture_has_everyone_and_everything() {
        let second = 1000 * MILLI;
        let history = History {
            nodes: vec![Node { id: "n".to_owned(), name: "node-1".to_owned(), slots: 2 }],
            ended: 10 * second,
            claims: vec![Claim { node: 0, term: 1, at: 0 }, Claim { node: 0, term: 1, at: second / 2 }],
            faults: vec![Fault {
                class: Class::Clock,
                nodes: vec![0],
                words: "<far off>".to_owned(),
                began: second,
                ended: 2 * second,
                effect: 1,
            }],
            containers: vec![Container {
                id: "c".to_owned(),
                node: "n".to_owned(),
                attempt: "R.0/1".to_owned(),
                fence: 7,
                started: Some(second),
                ended: None,
                cut_off: false,
                exit: None,
                still: Vec::new(),
            }],
            ..History::default()
        };
        let text = timeline(&history);
        for part in ["node-1", "leads", "clock &lt;far off&gt;", "R.0/1 fence 7", "healed"] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
