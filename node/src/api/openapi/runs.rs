//! What there is to do with runs.

use domain::Right;

use super::operation::{Access, Guarded, Media, Operation, Parameter, Success, Values, of};
use super::parameters::{IDEMPOTENCY_KEY, LIMIT, RUN_CURSOR};
use crate::api::dto::names::{REPO_NAME, RUN_OUTCOMES};
use crate::api::dto::{Approving, Cancelling, Pausing, Resuming, RunMade, RunView, Submit};
use crate::api::page::Page;
use crate::api::problem::Code;

const TAG: &str = "runs";

/// The operations.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get("/v1/runs", Access::Token(Right::Read, Guarded::ListRuns))
        .named(TAG, "listRuns", "Runs, newest first, without their jobs")
        .query(&[
            LIMIT,
            RUN_CURSOR,
            Parameter {
                name: "repo",
                about: "Only runs of this repository.",
                values: Values::Text { pattern: REPO_NAME, example: "team/app" },
            },
            Parameter {
                name: "outcome",
                about: "Only runs that ended so; `open`: only those that have not ended.",
                values: Values::Name(&RUN_OUTCOMES),
            },
        ])
        .answers(&[Success {
            status: 200,
            about: "A page.",
            media: &[Media::Json(of::<Page<RunView>>())],
            headers: &[],
        }]),
    Operation::post("/v1/runs", Access::Token(Right::Submit, Guarded::Submit))
        .named(TAG, "submitRun", "Submits an ad hoc job as a run of its own")
        .headers(&[IDEMPOTENCY_KEY])
        .takes(&[Media::Json(of::<Submit>())])
        .answers(&[
            Success {
                status: 201,
                about: "Committed by a quorum.",
                media: &[Media::Json(of::<RunMade>())],
                headers: &[],
            },
            Success {
                status: 200,
                about: "The key was used before: the run of then.",
                media: &[Media::Json(of::<RunMade>())],
                headers: &[],
            },
        ])
        .fails(&[Code::Conflict, Code::QueueFull]),
    Operation::get("/v1/runs/{run}", Access::Token(Right::Read, Guarded::GetRun))
        .named(TAG, "getRun", "A run with its jobs")
        .answers(&[Success {
            status: 200,
            about: "The run.",
            media: &[Media::Json(of::<RunView>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Unavailable]),
    Operation::get("/v1/runs/{run}/events", Access::Token(Right::Read, Guarded::RunEvents))
        .named(TAG, "watchRun", "A run's states as they come, until it ends")
        .details(
            "Events named `run`: the whole run (as `getRun` answers it) at first, and again at each change; their ids \
             are log entries. The stream ends after the state with an outcome. It breaks off when the token expires \
             or is revoked and when the node stops; whoever comes back has missed nothing after the first event.",
        )
        .answers(&[Success {
            status: 200,
            about: "The events.",
            media: &[Media::Text("text/event-stream")],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Unavailable]),
    Operation::post("/v1/runs/{run}/cancel", Access::Token(Right::Submit, Guarded::CancelRun))
        .named(TAG, "cancelRun", "Ends a run")
        .details(
            "Jobs that have not started finish at once; running ones are told to end. Those whose `if` holds for a \
             cancelled run, too (`always()`, `cancelled()`), run as ever, so that they can clean up; without `force` \
             the run ends with the last of them.",
        )
        .query(&[Parameter {
            name: "force",
            about: "True: ends all jobs, those whose `if` says `always()`, too.",
            values: Values::Flag,
        }])
        .answers(&[Success {
            status: 202,
            about: "Committed by a quorum.",
            media: &[Media::Json(of::<Cancelling>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Conflict]),
    Operation::post("/v1/runs/{run}/pause", Access::Token(Right::Submit, Guarded::PauseRun))
        .named(TAG, "pauseRun", "Lets a run stand still")
        .details(
            "Jobs that have not started are held; containers that run stand still as soon as their nodes have seen to it,              and `paused_at` of the job says so. They keep their places, and limits of time do not count it. A cancel              ends a paused run as any other.",
        )
        .answers(&[Success {
            status: 202,
            about: "Committed by a quorum.",
            media: &[Media::Json(of::<Pausing>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Conflict]),
    Operation::post("/v1/runs/{run}/resume", Access::Token(Right::Submit, Guarded::ResumeRun))
        .named(TAG, "resumeRun", "Lets a paused run go on")
        .answers(&[Success {
            status: 202,
            about: "Committed by a quorum.",
            media: &[Media::Json(of::<Resuming>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Conflict]),
    Operation::post("/v1/runs/{run}/approve", Access::Token(Right::Submit, Guarded::ApproveRun))
        .named(TAG, "approveRun", "Lets a run begin that comes from a fork")
        .details("A run whose commits are of someone who may not push waits for this, unless its repository says otherwise.")
        .answers(&[Success {
            status: 202,
            about: "Committed by a quorum.",
            media: &[Media::Json(of::<Approving>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Conflict]),
    Operation::post("/v1/runs/{run}/rerun", Access::Token(Right::Submit, Guarded::Rerun))
        .named(TAG, "rerunRun", "Repeats a finished run as a new one")
        .headers(&[IDEMPOTENCY_KEY])
        .answers(&[
            Success {
                status: 201,
                about: "Committed by a quorum.",
                media: &[Media::Json(of::<RunMade>())],
                headers: &[],
            },
            Success {
                status: 200,
                about: "The key was used before: the run of then.",
                media: &[Media::Json(of::<RunMade>())],
                headers: &[],
            },
        ])
        .fails(&[Code::NotFound, Code::Conflict, Code::QueueFull]),
];
