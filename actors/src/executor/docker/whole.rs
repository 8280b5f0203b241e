//! All that the engine has of a node, for one that is not to come back. Must not know why.

use bollard::errors::Error as Bollard;
use bollard::query_parameters as query;

use super::super::Error;
use super::blame::{of_question, status};
use super::{DockerExecutor, Engine};

impl DockerExecutor {
    /// Removes all containers, networks and volumes of this node. The answer is what there was: only when nothing was, nothing is.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Machine`], [`Error::Refused`].
    pub async fn remove_all(&self) -> Result<Vec<String>, Error> {
        self.engine()?.remove_all().await
    }
}

impl Engine {
    async fn remove_all(&self) -> Result<Vec<String>, Error> {
        let mut had = Vec::new();
        let options =
            query::ListContainersOptions { all: true, filters: Some(self.mine()), ..Default::default() };
        let all = self.docker.list_containers(Some(options)).await;
        for id in all.map_err(|e| of_question("list containers", &e))?.into_iter().filter_map(|c| c.id) {
            let options = query::RemoveContainerOptions { force: true, v: true, ..Default::default() };
            let removed = self.docker.remove_container(&id, Some(options)).await;
            later_is_fine(removed, "remove the container")?;
            had.push(format!("the container {id}"));
        }
        let options = query::ListNetworksOptions { filters: Some(self.mine()) };
        let all = self.docker.list_networks(Some(options)).await;
        for name in all.map_err(|e| of_question("list networks", &e))?.into_iter().filter_map(|n| n.name) {
            later_is_fine(self.docker.remove_network(&name).await, "remove the network")?;
            had.push(format!("the network {name}"));
        }
        let options = query::ListVolumesOptions { filters: Some(self.mine()) };
        let all = self.docker.list_volumes(Some(options)).await;
        let all = all.map_err(|e| of_question("list volumes", &e))?.volumes;
        for name in all.unwrap_or_default().into_iter().map(|volume| volume.name) {
            let removed = self.docker.remove_volume(&name, None::<query::RemoveVolumeOptions>).await;
            later_is_fine(removed, "remove a volume")?;
            had.push(format!("the volume {name}"));
        }
        Ok(had)
    }
}

/// It is gone, or something still has it; the engine has had several codes for that.
fn later_is_fine(done: Result<(), Bollard>, action: &'static str) -> Result<(), Error> {
    match done {
        Err(e) if !matches!(status(&e), Some(403 | 404 | 409)) => Err(of_question(action, &e)),
        _ => Ok(()),
    }
}
