//! `tidemark health`: the check that containers and scripts call.

use service::settings::Settings;

use crate::{client, output::print};

/// Prints what the server says of its parts; fails when it is not ready.
pub(crate) async fn run(url: Option<String>, settings: &Settings) -> anyhow::Result<()> {
    let url = url.map_or_else(|| Ok(format!("{}/readyz", client::server(None, settings)?)), anyhow::Ok)?;
    let answer = client::client(settings)?.get(&url).send().await.map_err(|error| client::unanswered(error, &url))?;
    let is_ready = answer.status().is_success();
    let body = answer.text().await?;
    anyhow::ensure!(is_ready, "not ready: {body}");
    print(&body)?;
    Ok(())
}
