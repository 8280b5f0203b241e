//! What there is to do with the cluster, its nodes and its tokens.

use domain::Right;

use super::operation::{Access, Guarded, Media, Open, Operation, Success, of};
use crate::api::dto::{
    ClusterView, Drain, Leads, MemberRemoved, MemberView, NewToken, NodeView, Ready, TokenMade, TokenRevoked,
    TokenView, TransferLeader,
};
use crate::api::page::Page;
use crate::api::problem::Code;

const CLUSTER: &str = "cluster";
const TOKENS: &str = "tokens";

/// The operations.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get("/healthz", Access::Open(Open::Health))
        .named(CLUSTER, "health", "Whether this process serves")
        .answers(&[Success {
            status: 200,
            about: "It does.",
            media: &[Media::Text("text/plain; charset=utf-8")],
            headers: &[],
        }]),
    Operation::get("/readyz", Access::Open(Open::Ready))
        .named(CLUSTER, "ready", "Whether this node belongs to a cluster, knows a leader, and its actors run")
        .answers(&[Success {
            status: 200,
            about: "It does.",
            media: &[Media::Json(of::<Ready>())],
            headers: &[],
        }])
        .fails(&[Code::Unavailable]),
    Operation::get("/v1/openapi.json", Access::Open(Open::Description))
        .named(CLUSTER, "describe", "This description")
        .answers(&[Success {
            status: 200,
            about: "OpenAPI 3.1.",
            media: &[Media::Json(|_| schemars::json_schema!({ "type": "object" }))],
            headers: &[],
        }]),
    Operation::get("/v1/cluster", Access::Token(Right::Read, Guarded::Cluster))
        .named(CLUSTER, "getCluster", "The cluster as this node sees it: leader, term, log, members")
        .answers(&[Success {
            status: 200,
            about: "The cluster.",
            media: &[Media::Json(of::<ClusterView>())],
            headers: &[],
        }]),
    Operation::get("/v1/cluster/members", Access::Token(Right::Read, Guarded::ListMembers))
        .named(CLUSTER, "listMembers", "All members of the cluster, as the leader knows them")
        .details("Without a leader as the node that answers knows them: then nobody leads, and nobody says who is behind.")
        .answers(&[Success {
            status: 200,
            about: "All of them; `next` is null.",
            media: &[Media::Json(of::<Page<MemberView>>())],
            headers: &[],
        }]),
    Operation::delete("/v1/cluster/members/{member}", Access::Token(Right::Admin, Guarded::RemoveMember))
        .named(CLUSTER, "removeMember", "Removes a member for ever")
        .details(
            "Its id is never used again, its name is free at once, what it holds is lost and tried elsewhere. If it runs, it \
             ends by itself. Refused while no safe majority would be left without it.",
        )
        .answers(&[Success {
            status: 202,
            about: "It is removed; if it votes, another takes its place first.",
            media: &[Media::Json(of::<MemberRemoved>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Conflict]),
    Operation::post("/v1/cluster/transfer-leader", Access::Token(Right::Admin, Guarded::TransferLeader))
        .named(CLUSTER, "transferLeader", "Makes a voter lead")
        .takes(&[Media::Json(of::<TransferLeader>())])
        .answers(&[Success {
            status: 200,
            about: "Who leads now.",
            media: &[Media::Json(of::<Leads>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Conflict]),
    Operation::get("/v1/nodes", Access::Token(Right::Read, Guarded::ListNodes))
        .named(CLUSTER, "listNodes", "All nodes")
        .answers(&[Success {
            status: 200,
            about: "All of them; `next` is null.",
            media: &[Media::Json(of::<Page<NodeView>>())],
            headers: &[],
        }]),
    Operation::get("/v1/nodes/{node}", Access::Token(Right::Read, Guarded::GetNode))
        .named(CLUSTER, "getNode", "A node")
        .answers(&[Success {
            status: 200,
            about: "The node.",
            media: &[Media::Json(of::<NodeView>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::post("/v1/nodes/{node}/drain", Access::Token(Right::Admin, Guarded::Drain))
        .named(CLUSTER, "drainNode", "Stops or allows new placements on a node")
        .details(
            "What runs there finishes, or is ended by the node at the deadline: its jobs are queued again in front, and that is no \
             loss that counts. Asked again, the last deadline holds.",
        )
        .takes(&[Media::Json(of::<Drain>())])
        .answers(&[Success {
            status: 200,
            about: "As it is from now on.",
            media: &[Media::Json(of::<Drain>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound]),
    Operation::get("/v1/tokens", Access::Token(Right::Admin, Guarded::ListTokens))
        .named(TOKENS, "listTokens", "All tokens, without their secrets")
        .answers(&[Success {
            status: 200,
            about: "All of them; `next` is null.",
            media: &[Media::Json(of::<Page<TokenView>>())],
            headers: &[],
        }]),
    Operation::post("/v1/tokens", Access::Token(Right::Admin, Guarded::CreateToken))
        .named(TOKENS, "createToken", "Makes a token")
        .details("One with the right `join` opens nothing here: one node joins with it, `troupe node --join TOKEN`.")
        .takes(&[Media::Json(of::<NewToken>())])
        .answers(&[Success {
            status: 201,
            about: "Made; its secret is shown this once.",
            media: &[Media::Json(of::<TokenMade>())],
            headers: &[],
        }]),
    Operation::delete("/v1/tokens/{token}", Access::Token(Right::Admin, Guarded::RevokeToken))
        .named(TOKENS, "revokeToken", "Ends a token, and the streams that it opened")
        .answers(&[Success {
            status: 200,
            about: "It opens nothing any more.",
            media: &[Media::Json(of::<TokenRevoked>())],
            headers: &[],
        }])
        .fails(&[Code::NotFound, Code::Conflict]),
];
