//! The least that a Lambda in Rust can be: what the authorizer's cold start is measured against.

use lambda_runtime::{Diagnostic, LambdaEvent, Runtime, service_fn};
use serde_json::{Value, json};

fn main() -> Result<(), lambda_runtime::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(Runtime::new(service_fn(handle)).run())
}

async fn handle(_: LambdaEvent<Value>) -> Result<Value, Diagnostic> {
    Ok(json!({}))
}
