use std::time::Instant;
use crate::app::TestApp;
#[tokio::test(flavor = "multi_thread")]
async fn bench() {
    let (app, _) = TestApp::seeded().await;
    for n in [120] {
    let terms: String = (0..n).map(|at| format!(" OR _sequence + _index = {at}")).collect();
    let simple: String = (0..n).map(|at| format!(" OR _index = {at}")).collect();
    let mixed: String = (0..n).map(|at| format!(" OR channel = 'c{at}' AND _index = {at}")).collect();
    for sql in [format!("EXPLAIN SELECT count(*) AS n FROM events WHERE path = 'none'{simple}"), format!("SELECT count(*) AS n FROM events WHERE path = 'none'{simple}"), format!("SELECT count(*) AS n FROM events WHERE event_date = '2026-11-20' AND (path = 'none'{simple})"), format!("SELECT count(*) AS n FROM events WHERE path = 'none'{simple}{}", if terms.is_empty() || mixed.is_empty() {""} else {""})] {
        let t = Instant::now(); app.watch.take_read(); let s = app.post("/sql?format=json", &sql).send().await.unwrap().status(); println!("{n} {:?} {s} {}", t.elapsed(), &sql[..50]); let r = app.post("/sql?format=json", &sql).send().await.unwrap(); println!("{:?}", r.headers()["server-timing"]);
    }}
    app.end().await;
}
