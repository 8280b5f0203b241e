//! What there is to do with jobs, attempts, their output and artifacts.

use domain::Right;

use super::operation::{Access, Guarded, Media, Operation, Parameter, Success, Values, of};
use super::parameters::{JOB_CURSOR, LIMIT};
use crate::api::dto::names::JOB_STATES;
use crate::api::dto::{ArtifactView, AttemptView, JobView, Reviewed};
use crate::api::page::Page;
use crate::api::problem::Code;

const TAG: &str = "jobs";
const OFFSET: Values = Values::Integer { min: 0, max: u64::MAX, default: Some(0) };

/// The operations.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get("/v1/jobs", Access::Token(Right::Read, Guarded::ListJobs))
        .named(TAG, "listJobs", "Jobs, newest first")
        .query(&[
            LIMIT,
            JOB_CURSOR,
            Parameter {
                name: "state",
                about: "Only jobs that stand there.",
                values: Values::Name(&JOB_STATES),
            },
        ])
        .answers(&[Success {
            status: 200,
            about: "A page.",
            media: &[Media::Json(of::<Page<JobView>>())],
            headers: &[],
        }]),
    Operation::get("/v1/jobs/{job}", Access::Token(Right::Read, Guarded::GetJob))
        .named(TAG, "getJob", "A job")
        .answers(&[Success {
            status: 200,
            about: "The job.",
            media: &[Media::Json(of::<JobView>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::post("/v1/jobs/{job}/approve", Access::Token(Right::Submit, Guarded::ApproveJob))
        .named(TAG, "approveJob", "Lets a job begin that waits for that, for its environment")
        .answers(&[Success {
            status: 202,
            about: "Committed by a quorum.",
            media: &[Media::Json(of::<Reviewed>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Conflict]),
    Operation::post("/v1/jobs/{job}/reject", Access::Token(Right::Submit, Guarded::RejectJob))
        .named(TAG, "rejectJob", "Ends a job as failed that waits to be approved for its environment")
        .answers(&[Success {
            status: 202,
            about: "Committed by a quorum.",
            media: &[Media::Json(of::<Reviewed>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Conflict]),
    Operation::get("/v1/jobs/{job}/attempts", Access::Token(Right::Read, Guarded::ListAttempts))
        .named(TAG, "listAttempts", "A job's attempts, first to last")
        .answers(&[Success {
            status: 200,
            about: "All of them; `next` is null.",
            media: &[Media::Json(of::<Page<AttemptView>>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::get("/v1/attempts/{job}/{number}", Access::Token(Right::Read, Guarded::GetAttempt))
        .named(TAG, "getAttempt", "An attempt: its steps, outcome, artifacts")
        .answers(&[Success {
            status: 200,
            about: "The attempt.",
            media: &[Media::Json(of::<AttemptView>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::get("/v1/attempts/{job}/{number}/log", Access::Token(Right::Read, Guarded::Log))
        .named(TAG, "readLog", "An attempt's output, from whichever node ran it")
        .details(
            "With `follow=true`, server-sent events. Those named `output` have base64 as data, so that NUL and broken \
             UTF-8 arrive as written, and the offset of what comes next as id. The last event is named `end`, or \
             `error` and then `end` when the node cannot be reached any more. A stream without `end` broke off (the \
             token expired or was revoked, or the node stopped): come back with its last id.",
        )
        .query(&[
            Parameter { name: "from", about: "Bytes of output to leave out.", values: OFFSET },
            Parameter {
                name: "follow",
                about: "True: events, until the attempt ends. False: what there is, as bytes.",
                values: Values::Flag,
            },
        ])
        .headers(&[Parameter {
            name: "Last-Event-ID",
            about: "The id of the last event that was seen; goes before `from`.",
            values: OFFSET,
        }])
        .answers(&[Success {
            status: 200,
            about: "The output: bytes as the job wrote them, or events.",
            media: &[Media::Text("text/plain; charset=utf-8"), Media::Text("text/event-stream")],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::OutputUnavailable]),
    Operation::get("/v1/attempts/{job}/{number}/artifacts", Access::Token(Right::Read, Guarded::ListArtifacts))
        .named(TAG, "listArtifacts", "The files that an attempt kept")
        .answers(&[Success {
            status: 200,
            about: "All of them; `next` is null.",
            media: &[Media::Json(of::<Page<ArtifactView>>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::get("/v1/attempts/{job}/{number}/artifacts/{path}", Access::Token(Right::Read, Guarded::Artifact))
        .named(TAG, "readArtifact", "A file's bytes, from whichever node has them")
        .query(&[Parameter {
            name: "name",
            about: "The name that `actions/upload-artifact` gave it. Without one, a file that `x-troupe.artifacts` chose.",
            values: Values::Text { pattern: "^.*$", example: "build" },
        }])
        .answers(&[Success {
            status: 200,
            about: "The bytes, always as an attachment: a browser never renders what a job wrote.",
            media: &[Media::Bytes],
            headers: &[
                Parameter {
                    name: "Content-Disposition",
                    about: "Always `attachment`.",
                    values: Values::Name(&["attachment"]),
                },
                Parameter {
                    name: "Content-Security-Policy",
                    about: "Always `sandbox`.",
                    values: Values::Name(&["sandbox"]),
                },
            ],
        }])
        .fails(&[Code::NotFound, Code::OutputUnavailable]),
];
