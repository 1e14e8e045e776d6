# okta-authorizer as a Terraform module: function, role, table, log group and permissions, as in
# template.yaml. example/ attaches an API to it.
terraform {
  required_version = ">= 1.4"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  downloaded = "${path.root}/.terraform/okta-authorizer-${coalesce(var.zip_sha256, "no-hash")}.zip"
  # Lambda's hash is in base64, and SHA256SUMS is in hexadecimal. This makes a string with one
  # character for each byte, and encodes the string.
  bytes         = jsondecode("\"${replace(coalesce(var.zip_sha256, "00"), "/(..)/", "\\u00$1")}\"")
  base64_sha256 = textencodebase64(local.bytes, "ISO-8859-1")
}

# This downloads the zip during the apply. It needs a POSIX shell and curl. A file has its final name
# only after its hash was checked, because another use of this module may read that file at the time.
resource "terraform_data" "zip" {
  count            = var.zip_url == null ? 0 : 1
  triggers_replace = [var.zip_sha256, var.name] # a function with another name needs the zip again
  provisioner "local-exec" {
    command     = <<-EOT
      set -e
      mkdir -p "$(dirname "$ZIP")"
      download=$(mktemp "$ZIP.XXXXXX")
      trap 'rm -f "$download"' EXIT
      curl --fail --silent --show-error --location --output "$download" --url "$URL"
      echo "$SHA256  $download" | if command -v sha256sum >/dev/null; then sha256sum -c -; else shasum -a 256 -c -; fi
      mv "$download" "$ZIP"
    EOT
    environment = { URL = var.zip_url, ZIP = local.downloaded, SHA256 = var.zip_sha256 }
  }
  lifecycle {
    precondition {
      condition     = var.zip_sha256 != null
      error_message = "zip_url needs zip_sha256, from the SHA256SUMS of the release."
    }
  }
}

data "aws_secretsmanager_secret_version" "client_secret" {
  count     = var.okta_introspection_client_secret_arn == "" ? 0 : 1
  secret_id = var.okta_introspection_client_secret_arn
  lifecycle {
    precondition {
      condition     = var.okta_introspection_client_id != ""
      error_message = "okta_introspection_client_secret_arn requires okta_introspection_client_id."
    }
  }
}

resource "aws_lambda_function" "authorizer" {
  function_name    = var.name
  description      = "API Gateway TOKEN authorizer for Okta access tokens"
  filename         = var.zip_path == null ? local.downloaded : var.zip_path
  source_code_hash = var.zip_path == null ? local.base64_sha256 : filebase64sha256(var.zip_path)
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture]
  memory_size      = var.memory_size
  timeout          = 6
  role             = aws_iam_role.authorizer.arn
  layers           = compact([var.policy_layer_arn])

  reserved_concurrent_executions = var.reserved_concurrency

  tracing_config {
    mode = "Active"
  }
  logging_config {
    log_group             = aws_cloudwatch_log_group.authorizer.name
    log_format            = "JSON"
    application_log_level = "INFO"
    system_log_level      = "INFO"
  }
  # The variables and defaults of template.yaml. The program treats an empty string as unset and uses
  # its own default.
  environment {
    variables = merge({
      OKTA_ISSUER                      = var.okta_issuer
      OKTA_AUDIENCE                    = var.okta_audience
      OKTA_ALLOWED_CLIENT_IDS          = var.okta_allowed_client_ids
      OKTA_KEYS_ENDPOINT               = ""
      OKTA_JWKS                        = ""
      KEYS_TABLE_NAME                  = aws_dynamodb_table.keys.name
      KEYS_REFRESH_SECONDS             = "3600"
      KEYS_MAX_STALE_SECONDS           = "86400"
      CLOCK_SKEW_SECONDS               = "60"
      POLICY_FILE                      = var.policy_layer_arn == "" ? "" : "/opt/policy.toml"
      POLICY_MAX_BYTES                 = "32768"
      PATH_GUARD                       = "on"
      INVALID_TOKEN_RESPONSE           = "unauthorized"
      API_KEY_CLAIM                    = var.api_key_claim
      CONTEXT_CLAIMS                   = var.context_claims
      OKTA_INTROSPECTION_CLIENT_ID     = var.okta_introspection_client_id
      OKTA_INTROSPECTION_CLIENT_SECRET = join("", data.aws_secretsmanager_secret_version.client_secret[*].secret_string)
      OKTA_INTROSPECTION_ENDPOINT      = ""
    }, var.environment)
  }

  depends_on = [terraform_data.zip, aws_iam_role_policy.authorizer]
  lifecycle {
    precondition {
      condition     = (var.zip_path == null) != (var.zip_url == null)
      error_message = "Give the release zip either as zip_path, or as zip_url with zip_sha256."
    }
    precondition {
      condition     = var.zip_path == null || var.zip_sha256 == null || try(filesha256(var.zip_path) == var.zip_sha256, false)
      error_message = "The zip at zip_path does not have the hash zip_sha256. Download the zip of the release again."
    }
  }
}

resource "aws_lambda_permission" "attached_api" {
  count         = length(var.attached_api_ids) # not for_each, because an id can be unknown before the apply
  function_name = aws_lambda_function.authorizer.arn
  action        = "lambda:InvokeFunction"
  principal     = "apigateway.amazonaws.com"
  source_arn    = "arn:${data.aws_partition.current.partition}:execute-api:${data.aws_region.current.id}:${data.aws_caller_identity.current.account_id}:${var.attached_api_ids[count.index]}/authorizers/*"
}

resource "aws_iam_role" "authorizer" {
  name_prefix = "${var.name}-"
  description = "Execution role of the Okta authorizer"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "authorizer" {
  role = aws_iam_role.authorizer.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["dynamodb:GetItem", "dynamodb:UpdateItem"]
        Resource = aws_dynamodb_table.keys.arn
      },
      {
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.authorizer.arn}:*"
      },
      # Lambda's active tracing requires these two actions. They do not support resource-level
      # permissions.
      {
        Effect   = "Allow"
        Action   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
        Resource = "*"
      },
    ]
  })
}

# This table is a cache of public keys. One request to Okta rebuilds it, so it needs no backup. A
# restore would bring back keys that Okta has withdrawn.
resource "aws_dynamodb_table" "keys" {
  name         = "${var.name}-keys"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "PK"
  attribute {
    name = "PK"
    type = "S"
  }
  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }
  server_side_encryption {
    enabled = true
  }
  point_in_time_recovery {
    enabled = false
  }
}

# The log records who was allowed. `terraform destroy` keeps it.
resource "aws_cloudwatch_log_group" "authorizer" {
  name_prefix       = "/aws/lambda/${var.name}-"
  retention_in_days = var.log_retention_days
  skip_destroy      = true
}
