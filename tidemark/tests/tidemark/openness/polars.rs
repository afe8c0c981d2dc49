//! Polars with delta-rs, as one Python process that reads the table whenever it is asked to.

use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::json;
use testkit::S3Server;

const SCRIPT: &str = "tests/tidemark/openness/polars_reader.py";
/// Where `./justw readers` puts Polars.
const READERS: &str = "../.tools/readers";

/// The process; killed on drop.
pub(super) struct Polars {
    child: Child,
    talk: RefCell<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
}

impl Polars {
    /// Starts it on the table at `location`.
    pub(super) fn start(location: &str, s3: Option<&S3Server>) -> Self {
        let [script, readers] = [SCRIPT, READERS].map(|path| Path::new(env!("CARGO_MANIFEST_DIR")).join(path));
        assert!(readers.exists(), "`{}` is missing; run `./justw readers`", readers.display());
        let mut command = Command::new("python3");
        command.arg("-B").arg(script).args([location, &s3.map_or_else(|| "{}".to_owned(), options)]).env("PYTHONPATH", readers);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let talk = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
        Self { child, talk: RefCell::new(talk) }
    }

    /// Asks for the numbers; see the script.
    pub(super) fn ask(&self, way: &str) -> String {
        let (questions, answers) = &mut *self.talk.borrow_mut();
        writeln!(questions, "{way}").unwrap();
        answers.next().unwrap_or_else(|| panic!("Polars could not read `{way}`, see above")).unwrap()
    }
}

impl Drop for Polars {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Storage options that delta-rs and Polars both understand.
fn options(s3: &S3Server) -> String {
    let options = json!({
        "aws_endpoint_url": s3.endpoint(),
        "aws_access_key_id": s3.access_key(),
        "aws_secret_access_key": s3.secret_key(),
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    });
    options.to_string()
}
