//! What there is to do with repositories, webhooks and deliveries.

use domain::Right;
use schemars::json_schema;

use super::operation::{Access, Guarded, Media, Open, Operation, Parameter, Success, Values, of};
use super::parameters::{IDEMPOTENCY_KEY, LIMIT, REPO_CURSOR};
use crate::api::dto::{
    Accepted, DeliveryView, Dispatch, PutRepo, RepoPut, RepoRemoved, RepoView, RepositoryEvent,
};
use crate::api::page::Page;
use crate::api::problem::Code;

const TAG: &str = "repositories";

/// A header by which forges say what a webhook is about.
const fn of_forges(name: &'static str, about: &'static str, example: &'static str) -> Parameter {
    Parameter { name, about, values: Values::Text { pattern: "^[ -~]+$", example } }
}

const DELIVERY: &str = "The forge's id of the delivery: the same one is accepted once.";

/// The operations.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get("/v1/repos", Access::Token(Right::Read, Guarded::ListRepos))
        .named(TAG, "listRepos", "Repositories by name, without secrets and credentials")
        .query(&[LIMIT, REPO_CURSOR])
        .answers(&[Success {
            status: 200,
            about: "A page.",
            media: &[Media::Json(of::<Page<RepoView>>())],
            headers: &[],
        }]),
    Operation::get("/v1/repos/{repo}", Access::Token(Right::Read, Guarded::GetRepo))
        .named(TAG, "getRepo", "A repository, without its secret and credentials")
        .answers(&[Success {
            status: 200,
            about: "The repository.",
            media: &[Media::Json(of::<RepoView>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::put("/v1/repos/{repo}", Access::Token(Right::Admin, Guarded::PutRepo))
        .named(TAG, "putRepo", "Registers a repository, or changes it")
        .takes(&[Media::Json(of::<PutRepo>())])
        .answers(&[
            Success {
                status: 201,
                about: "Registered.",
                media: &[Media::Json(of::<RepoPut>())],
                headers: &[],
            },
            Success {
                status: 200,
                about: "Changed: it was there.",
                media: &[Media::Json(of::<RepoPut>())],
                headers: &[],
            },
        ])
        .fails(&[Code::Conflict]),
    Operation::delete("/v1/repos/{repo}", Access::Token(Right::Admin, Guarded::RemoveRepo))
        .named(TAG, "removeRepo", "Removes a repository; its runs stay")
        .answers(&[Success {
            status: 200,
            about: "Removed.",
            media: &[Media::Json(of::<RepoRemoved>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::post("/v1/repos/{repo}/dispatch", Access::Token(Right::Submit, Guarded::Dispatch))
        .named(TAG, "dispatch", "Runs a workflow by hand")
        .headers(&[IDEMPOTENCY_KEY])
        .takes(&[Media::Json(of::<Dispatch>())])
        .answers(&[Success {
            status: 202,
            about: "Committed by a quorum; the delivery says what becomes of it.",
            media: &[Media::Json(of::<Accepted>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Conflict, Code::QueueFull]),
    Operation::post("/v1/repos/{repo}/events", Access::Token(Right::Submit, Guarded::RepositoryEvent))
        .named(TAG, "tellRepository", "Tells of an event of another system")
        .details(
            "Workflows of the default branch whose `on` has `repository_dispatch`, of this type or of any, run; they find the \
             type as `github.event.action` and the data as `github.event.client_payload`.",
        )
        .headers(&[IDEMPOTENCY_KEY])
        .takes(&[Media::Json(of::<RepositoryEvent>())])
        .answers(&[Success {
            status: 202,
            about: "Committed by a quorum; the delivery says what becomes of it.",
            media: &[Media::Json(of::<Accepted>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Conflict, Code::QueueFull]),
    Operation::post("/v1/hooks/{repo}", Access::Open(Open::Hook))
        .named(TAG, "receiveWebhook", "Takes a webhook of a forge")
        .details(
            "Of GitHub, GitLab, Gitea, Forgejo, Gogs, Bitbucket, or anything that signs as Standard Webhooks says. The \
             signature is an HMAC with SHA-256 over the raw bytes of the body, under the repository's webhook secret; \
             GitLab may send the secret itself. A body that was accepted within 24 hours is answered with the delivery \
             of then, under whatever id it comes, but for a push that begins where the last one of its ref ended; of \
             Standard Webhooks the signed id says what is the same. A push to several refs is a delivery for each.",
        )
        .headers(&[
            of_forges("X-GitHub-Event", "What happened, as GitHub names it.", "push"),
            of_forges("X-GitHub-Delivery", DELIVERY, "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            of_forges("X-Gitea-Event", "What happened, as Gitea names it.", "push"),
            of_forges("X-Gitea-Delivery", DELIVERY, "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            of_forges("X-Forgejo-Event", "What happened, as Forgejo names it.", "push"),
            of_forges("X-Forgejo-Delivery", DELIVERY, "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            of_forges("X-Gogs-Event", "What happened, as Gogs names it.", "push"),
            of_forges("X-Gogs-Delivery", DELIVERY, "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            of_forges("X-Gitlab-Event", "What happened, as GitLab names it.", "Push Hook"),
            of_forges("Idempotency-Key", DELIVERY, "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            of_forges("X-Event-Key", "What happened, as Bitbucket names it.", "repo:push"),
            of_forges("X-Request-UUID", DELIVERY, "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            of_forges("X-Request-Id", DELIVERY, "72d3162e-cc78-11e3-81ab-4c9367dc0958"),
            of_forges("webhook-id", "The id of a message of Standard Webhooks.", "msg_2Lu1mVXeVqmqmGD4"),
            of_forges("webhook-timestamp", "When that was signed, in seconds since 1970.", "1767225600"),
        ])
        .takes(&[Media::Json(|_| json_schema!({ "type": "object" })), Media::Form])
        .answers(&[
            Success {
                status: 202,
                about: "Committed by a quorum; the delivery says what becomes of it.",
                media: &[Media::Json(of::<Accepted>())],
                headers: &[],
            },
            Success {
                status: 200,
                about: "No run follows, and why.",
                media: &[Media::Json(of::<Accepted>())],
                headers: &[],
            },
        ])
        .fails(&[Code::Unauthorized, Code::Forbidden, Code::QueueFull]),
    Operation::get("/v1/deliveries/{delivery}", Access::Token(Right::Read, Guarded::GetDelivery))
        .named(TAG, "getDelivery", "Where a delivery stands, and the runs it became")
        .answers(&[Success {
            status: 200,
            about: "The delivery.",
            media: &[Media::Json(of::<DeliveryView>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
];
