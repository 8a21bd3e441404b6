//! `fake_cloudflare [ZONE…]`: a Cloudflare of our own for other programs. Says in one line of JSON where it is and what
//! opens it, and runs until its standard input ends. It fails if a request broke the rules of the API.

use mtasts_testkit::FakeCloudflare;
use tokio::io::{AsyncReadExt, stdin};

#[tokio::main]
async fn main() {
    let zones: Vec<_> = std::env::args().skip(1).collect();
    let fake = FakeCloudflare::start().await;
    let ids: Vec<_> = zones.iter().map(|zone| fake.add_zone(zone)).collect();
    let token = fake.add_token(&zones.iter().map(String::as_str).collect::<Vec<_>>());
    println!("{}", serde_json::json!({"url": fake.url(), "dns": fake.dns(), "token": token, "zone_ids": ids}));
    // Whatever is written to it does not matter.
    let _ = stdin().read_to_end(&mut Vec::new()).await;
    let complaints = fake.take_complaints();
    drop(fake);
    for complaint in &complaints {
        eprintln!("{complaint}");
    }
    std::process::exit(i32::from(!complaints.is_empty()));
}
