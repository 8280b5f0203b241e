//! Counts what happened in the histories.

/// What happened, so that a simulation that exercises nothing is noticed.
#[derive(Debug, Default, Clone, Copy)]
pub struct Seen {
    pub placed: u64,
    pub refused_placements: u64,
    pub stale_reports: u64,
    pub requeued: u64,
    pub finished: [u64; 6],
    pub duplicates: u64,
    pub reruns: u64,
    pub forgotten: u64,
    pub joined: u64,
    pub removed: u64,
    pub paused: u64,
    pub stood_still: u64,
    pub left: u64,
    pub excused: u64,
    pub decided: u64,
    pub became: u64,
    pub approved: u64,
    pub held_by_group: u64,
    pub tried_again: u64,
    pub lasted: u64,
    pub reviewed: u64,
}

impl Seen {
    pub fn add(&mut self, other: &Seen) {
        self.placed += other.placed;
        self.refused_placements += other.refused_placements;
        self.stale_reports += other.stale_reports;
        self.requeued += other.requeued;
        self.duplicates += other.duplicates;
        self.reruns += other.reruns;
        self.forgotten += other.forgotten;
        self.joined += other.joined;
        self.removed += other.removed;
        self.paused += other.paused;
        self.stood_still += other.stood_still;
        self.left += other.left;
        self.excused += other.excused;
        self.decided += other.decided;
        self.became += other.became;
        self.approved += other.approved;
        self.held_by_group += other.held_by_group;
        self.tried_again += other.tried_again;
        self.lasted += other.lasted;
        self.reviewed += other.reviewed;
        for (mine, theirs) in self.finished.iter_mut().zip(other.finished) {
            *mine += theirs;
        }
    }

    pub fn assert_all_happened(&self) {
        let counts = [
            self.placed,
            self.refused_placements,
            self.stale_reports,
            self.requeued,
            self.duplicates,
            self.reruns,
            self.forgotten,
            self.joined,
            self.removed,
            self.paused,
            self.stood_still,
            self.left,
            self.excused,
            self.decided,
            self.became,
            self.approved,
            self.held_by_group,
            self.tried_again,
            self.lasted,
            self.reviewed,
        ];
        assert!(
            counts.iter().chain(&self.finished).all(|count| *count > 0),
            "something never happened: {self:?}"
        );
    }
}
