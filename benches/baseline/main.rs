//! An empty Lambda handler in Rust. The bench `cold_start` compares the authorizer with it.

use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use serde_json::{Value, json};

fn main() -> Result<(), lambda_runtime::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Runtime::new(service_fn(handle)).run())
}

async fn handle(_: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    Ok(json!({}))
}
