# Terraform API with okta-authorizer, which the module in the folder above makes.
terraform {
  required_version = ">= 1.4"
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

variable "okta_issuer" {
  description = "Issuer URL of a custom authorization server of Okta, such as https://example.okta.com/oauth2/default"
  type        = string
}

variable "zip_path" {
  description = "Path of the release zip for arm64. For a download, replace it in the module by zip_url and zip_sha256."
  type        = string
}

module "okta_authorizer" {
  source           = "../"
  zip_path         = var.zip_path
  okta_issuer      = var.okta_issuer
  attached_api_ids = [aws_api_gateway_rest_api.api.id]
}

resource "aws_api_gateway_rest_api" "api" {
  name = "hello"
  endpoint_configuration {
    types = ["REGIONAL"]
  }
}

resource "aws_api_gateway_authorizer" "okta" {
  name                             = "Okta"
  rest_api_id                      = aws_api_gateway_rest_api.api.id
  type                             = "TOKEN"
  identity_source                  = "method.request.header.Authorization"
  identity_validation_expression   = "^[Bb]earer [A-Za-z0-9_-]+([.][A-Za-z0-9_-]+){2}$"
  authorizer_result_ttl_in_seconds = 300 # seconds that API Gateway caches a policy; 0 for none
  authorizer_uri                   = module.okta_authorizer.authorizer_uri
}

resource "aws_api_gateway_resource" "hello" {
  rest_api_id = aws_api_gateway_rest_api.api.id
  parent_id   = aws_api_gateway_rest_api.api.root_resource_id
  path_part   = "hello"
}

resource "aws_api_gateway_resource" "uid" {
  rest_api_id = aws_api_gateway_rest_api.api.id
  parent_id   = aws_api_gateway_resource.hello.id
  path_part   = "{uid}"
}

resource "aws_api_gateway_method" "get_hello" {
  rest_api_id   = aws_api_gateway_rest_api.api.id
  resource_id   = aws_api_gateway_resource.uid.id
  http_method   = "GET"
  authorization = "CUSTOM"
  authorizer_id = aws_api_gateway_authorizer.okta.id
}

resource "aws_api_gateway_integration" "get_hello" {
  rest_api_id       = aws_api_gateway_rest_api.api.id
  resource_id       = aws_api_gateway_resource.uid.id
  http_method       = aws_api_gateway_method.get_hello.http_method
  type              = "MOCK"
  request_templates = { "application/json" = jsonencode({ statusCode = 200 }) }
}

resource "aws_api_gateway_method_response" "get_hello" {
  rest_api_id         = aws_api_gateway_rest_api.api.id
  resource_id         = aws_api_gateway_resource.uid.id
  http_method         = aws_api_gateway_method.get_hello.http_method
  status_code         = "200"
  response_parameters = { "method.response.header.Access-Control-Allow-Origin" = false }
}

resource "aws_api_gateway_integration_response" "get_hello" {
  rest_api_id         = aws_api_gateway_rest_api.api.id
  resource_id         = aws_api_gateway_resource.uid.id
  http_method         = aws_api_gateway_integration.get_hello.http_method
  status_code         = aws_api_gateway_method_response.get_hello.status_code
  response_parameters = { "method.response.header.Access-Control-Allow-Origin" = "'*'" }
  response_templates  = { "application/json" = jsonencode({ message = "hello" }) }
}

locals {
  preflight = {
    "Access-Control-Allow-Origin"  = "'*'"
    "Access-Control-Allow-Headers" = "'Authorization,Content-Type'"
    "Access-Control-Allow-Methods" = "'GET,OPTIONS'"
    "Access-Control-Max-Age"       = "'600'"
  }
}

resource "aws_api_gateway_method" "preflight_hello" {
  rest_api_id   = aws_api_gateway_rest_api.api.id
  resource_id   = aws_api_gateway_resource.uid.id
  http_method   = "OPTIONS"
  authorization = "NONE" # browsers send no token with OPTIONS
}

resource "aws_api_gateway_integration" "preflight_hello" {
  rest_api_id       = aws_api_gateway_rest_api.api.id
  resource_id       = aws_api_gateway_resource.uid.id
  http_method       = aws_api_gateway_method.preflight_hello.http_method
  type              = "MOCK"
  request_templates = { "application/json" = jsonencode({ statusCode = 204 }) }
}

resource "aws_api_gateway_method_response" "preflight_hello" {
  rest_api_id         = aws_api_gateway_rest_api.api.id
  resource_id         = aws_api_gateway_resource.uid.id
  http_method         = aws_api_gateway_method.preflight_hello.http_method
  status_code         = "204"
  response_parameters = { for name, value in local.preflight : "method.response.header.${name}" => false }
}

resource "aws_api_gateway_integration_response" "preflight_hello" {
  rest_api_id         = aws_api_gateway_rest_api.api.id
  resource_id         = aws_api_gateway_resource.uid.id
  http_method         = aws_api_gateway_integration.preflight_hello.http_method
  status_code         = aws_api_gateway_method_response.preflight_hello.status_code
  response_parameters = { for name, value in local.preflight : "method.response.header.${name}" => value }
}

# Without these headers a browser reports a CORS error instead of 401 or 403.
resource "aws_api_gateway_gateway_response" "unauthorized" {
  rest_api_id   = aws_api_gateway_rest_api.api.id
  response_type = "UNAUTHORIZED"
  status_code   = "401"
  response_parameters = {
    "gatewayresponse.header.WWW-Authenticate"              = "'Bearer'" # RFC 6750, section 3
    "gatewayresponse.header.Access-Control-Allow-Origin"   = "'*'"
    "gatewayresponse.header.Access-Control-Expose-Headers" = "'WWW-Authenticate'"
  }
}

resource "aws_api_gateway_gateway_response" "access_denied" {
  rest_api_id         = aws_api_gateway_rest_api.api.id
  response_type       = "ACCESS_DENIED"
  status_code         = "403"
  response_parameters = { "gatewayresponse.header.Access-Control-Allow-Origin" = "'*'" }
}

resource "aws_api_gateway_gateway_response" "default" {
  for_each            = toset(["DEFAULT_4XX", "DEFAULT_5XX"])
  rest_api_id         = aws_api_gateway_rest_api.api.id
  response_type       = each.value
  response_parameters = { "gatewayresponse.header.Access-Control-Allow-Origin" = "'*'" }
}

# A deployment is a copy of the API at one time. A change of this file makes a new one.
resource "aws_api_gateway_deployment" "api" {
  rest_api_id = aws_api_gateway_rest_api.api.id
  triggers    = { redeployment = filesha1("${path.module}/main.tf") }
  depends_on = [
    aws_api_gateway_integration_response.get_hello,
    aws_api_gateway_integration_response.preflight_hello,
    aws_api_gateway_gateway_response.unauthorized,
    aws_api_gateway_gateway_response.access_denied,
    aws_api_gateway_gateway_response.default,
  ]
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_stage" "prod" {
  rest_api_id   = aws_api_gateway_rest_api.api.id
  deployment_id = aws_api_gateway_deployment.api.id
  stage_name    = "prod"
  # The only record of a 403 from the gateway's cache, because the authorizer is not called. API
  # Gateway writes it with a role of the whole account: see "Access logs" in ../../README.md.
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access_log.arn
    format = jsonencode({
      requestId       = "$context.requestId"
      time            = "$context.requestTime"
      ip              = "$context.identity.sourceIp"
      method          = "$context.httpMethod"
      path            = "$context.path"
      resource        = "$context.resourcePath"
      status          = "$context.status"
      principalId     = "$context.authorizer.principalId"
      authorizerError = "$context.authorizer.error"
      responseType    = "$context.error.responseType"
    })
  }
}

resource "aws_cloudwatch_log_group" "access_log" {
  name_prefix       = "hello-access-"
  retention_in_days = 90
  skip_destroy      = true
}

output "url" {
  value = aws_api_gateway_stage.prod.invoke_url
}
