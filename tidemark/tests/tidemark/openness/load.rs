//! `tidemark load` in the background: small requests, so that commits are many.

use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::process::tidemark;

/// A load that goes on until it is ended; killed on drop.
pub(super) struct Load(Option<Child>);

impl Load {
    pub(super) fn start(url: &str) -> Self {
        let mut command =
            tidemark(&["load", "--json", "--check", "--url", url, "--connections", "4", "--rate", "5 for 1h", "--batch", "100"]);
        Self(Some(command.stdout(Stdio::piped()).spawn().unwrap()))
    }

    /// Ends it; how many events were acknowledged, all of which `/sql` has counted.
    pub(super) fn end(mut self) -> u64 {
        let child = self.0.take().unwrap();
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let report: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
        assert!(report["check"]["is_right"] == true && report["errors"] == 0, "{report:#}");
        report["acknowledged_events"].as_u64().unwrap()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
