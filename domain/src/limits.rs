//! The limits of what may enter the replicated state, with the names that errors use.

/// A run's specification as proposed, in bytes, all jobs together.
pub const MAX_SPEC_BYTES: usize = 256 * 1024;
/// Jobs of one run.
pub const MAX_JOBS_PER_RUN: usize = 256;
/// Attempts that a job may ask for.
pub const MAX_ATTEMPTS: u16 = 5;
/// Seconds that a job may ask to wait before it is tried again, however often it failed.
pub const MAX_BACKOFF_SECONDS: u32 = 3600;
/// Placements or reports in one command.
pub const MAX_BATCH: usize = 1024;
/// Bytes of an idempotency or delivery key.
pub const MAX_KEY_BYTES: usize = 255;
/// How long a delivery or idempotency key is remembered, in milliseconds (24 h).
pub const KEY_WINDOW_MILLIS: u64 = 24 * 3600 * 1000;
/// Bytes of a token's name.
pub const MAX_TOKEN_NAME_BYTES: usize = 100;
/// API tokens, those that expired included as long as they are shown.
pub const MAX_TOKENS: usize = 10_000;
/// How long a token that expired is still shown.
pub const SHOWN_EXPIRED_MILLIS: u64 = 24 * 3600 * 1000;
/// How long a join token may last, in milliseconds (7 days).
pub const MAX_JOIN_TOKEN_MILLIS: u64 = 7 * 24 * 3600 * 1000;
/// Join tokens that are kept at one time, used ones among them.
pub const MAX_JOIN_TOKENS: usize = 1000;
/// Bytes of a node's address.
pub const MAX_ADDRESS_BYTES: usize = 255;
/// Bytes of an event's payload.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Bytes of what a job tells later ones: names and values of its outputs.
pub const MAX_OUTPUT_BYTES: usize = 64 * 1024;
/// Annotations of one attempt.
pub const MAX_ANNOTATIONS: usize = 50;
/// Bytes of the texts of these.
pub const MAX_ANNOTATION_BYTES: usize = 64 * 1024;
/// Secrets of one repository.
pub const MAX_SECRETS: usize = 100;
/// Variables of one repository.
pub const MAX_VARIABLES: usize = 500;
/// Bytes of one variable.
pub const MAX_VARIABLE_BYTES: usize = 48 * 1024;
/// Bytes of all variables of one repository.
pub const MAX_VARIABLES_BYTES: usize = 256 * 1024;
/// Environments of one repository.
pub const MAX_ENVIRONMENTS: usize = 100;
/// Bytes of the name of an environment.
pub const MAX_ENVIRONMENT_NAME_BYTES: usize = 255;
/// Runs of one repository that wait for approval; of more the first is cancelled.
pub const MAX_UNAPPROVED: usize = 100;
/// Bytes of one sealed secret.
pub const MAX_SEALED_BYTES: usize = 64 * 1024;
/// Bytes of the name of a cache or of a concurrency group.
pub const MAX_NAME_BYTES: usize = 512;
/// Caches of one repository.
pub const MAX_CACHES: usize = 1000;
/// Schedules of one repository.
pub const MAX_SCHEDULES: usize = 100;
/// Workflows of one repository that follow others.
pub const MAX_FOLLOWERS: usize = 20;
/// Runs that follow each other by `workflow_run`, at most.
pub const MAX_FOLLOWING: usize = 3;
/// Steps of one job.
pub const MAX_STEPS: usize = 256;
