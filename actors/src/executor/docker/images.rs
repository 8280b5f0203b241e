//! Images: asked for by name, pulled once however many wait, and not for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::query_parameters as query;
use futures::StreamExt;

use super::super::Error;
use super::blame;

type Turn = tokio::sync::Mutex<()>;

/// Pulls under way.
#[derive(Debug)]
pub(super) struct Images {
    docker: Docker,
    /// Waits longer for an answer than a pull may be silent: the engine answers when it has something to tell.
    patient: Docker,
    stall: Duration,
    /// One turn for each image that someone waits for.
    turns: Mutex<HashMap<String, Weak<Turn>>>,
}

impl Images {
    /// A pull of which nothing is heard for `stall` is given up.
    pub(super) fn new(docker: Docker, stall: Duration) -> Self {
        let patient = docker.clone().with_timeout(stall + Duration::from_secs(60));
        Self { docker, patient, stall, turns: Mutex::default() }
    }

    /// Sees that the image is here.
    pub(super) async fn ensure(&self, image: &str) -> Result<(), Error> {
        if self.is_here(image).await? {
            return Ok(());
        }
        let turn = self.turn(image);
        let _mine = turn.lock().await;
        // Someone may have pulled it in the meantime.
        if self.is_here(image).await? {
            return Ok(());
        }
        self.pull(image, None).await?;
        match self.is_here(image).await? {
            true => Ok(()),
            false => Err(Error::Unreachable(format!("its pull of {image} ended before the image was there"))),
        }
    }

    /// Pulls it by these credentials, whether or not it is here: what is here may have come by someone else's.
    pub(super) async fn pull_as(&self, image: &str, credentials: DockerCredentials) -> Result<(), Error> {
        let turn = self.turn(image);
        let _mine = turn.lock().await;
        self.pull(image, Some(credentials)).await
    }

    async fn is_here(&self, image: &str) -> Result<bool, Error> {
        match self.docker.inspect_image(image).await {
            Ok(_) => Ok(true),
            Err(error) => match blame::status(&error) {
                // Not here, or no name of an image: the pull says so.
                Some(300..500) => Ok(false),
                _ => Err(blame::of_question("inspect the image", &error)),
            },
        }
    }

    fn turn(&self, image: &str) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(image).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::default());
        turns.insert(image.to_owned(), Arc::downgrade(&turn));
        turn
    }

    /// Leaving it half-way ends the pull in the engine, too.
    async fn pull(&self, image: &str, credentials: Option<DockerCredentials>) -> Result<(), Error> {
        // Without a tag the engine would pull every tag there is.
        let name = image.rsplit('/').next().unwrap_or(image);
        let tag = (!name.contains([':', '@'])).then(|| "latest".to_owned());
        let options =
            query::CreateImageOptions { from_image: Some(image.to_owned()), tag, ..Default::default() };
        let mut progress = self.patient.create_image(Some(options), None, credentials);
        loop {
            match tokio::time::timeout(self.stall, progress.next()).await {
                Ok(None) => return Ok(()),
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return Err(blame::of_pull(image, &error)),
                Err(_) => {
                    let why =
                        format!("nothing of it has come for {:?}, so the pull was given up", self.stall);
                    return Err(Error::ImageMissing { image: image.to_owned(), why });
                }
            }
        }
    }
}
