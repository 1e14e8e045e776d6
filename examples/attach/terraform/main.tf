# Terraform API with okta-authorizer.
terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = ">= 5.0" }
  }
}

data "aws_cloudformation_stack" "okta_authorizer" {
  name = "okta-authorizer"
}

# The stack okta-authorizer gives the permission to call the function: see its parameter
# AttachedApiId.
resource "aws_api_gateway_authorizer" "okta" {
  name                             = "Okta"
  rest_api_id                      = aws_api_gateway_rest_api.api.id
  type                             = "TOKEN"
  identity_source                  = "method.request.header.Authorization"
  identity_validation_expression   = "^[Bb]earer [A-Za-z0-9_-]+([.][A-Za-z0-9_-]+){2}$"
  authorizer_result_ttl_in_seconds = 300 # seconds that API Gateway caches a policy; 0 for none
  authorizer_uri                   = data.aws_cloudformation_stack.okta_authorizer.outputs["AuthorizerUri"]
}

resource "aws_api_gateway_rest_api" "api" {
  name = "hello"
  endpoint_configuration {
    types = ["REGIONAL"]
  }
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
  rest_api_id = aws_api_gateway_rest_api.api.id
  resource_id = aws_api_gateway_resource.uid.id
  http_method = aws_api_gateway_method.get_hello.http_method
  status_code = "200"
}

resource "aws_api_gateway_integration_response" "get_hello" {
  rest_api_id        = aws_api_gateway_rest_api.api.id
  resource_id        = aws_api_gateway_resource.uid.id
  http_method        = aws_api_gateway_integration.get_hello.http_method
  status_code        = aws_api_gateway_method_response.get_hello.status_code
  response_templates = { "application/json" = jsonencode({ message = "hello" }) }
}

resource "aws_api_gateway_deployment" "api" {
  rest_api_id = aws_api_gateway_rest_api.api.id
  triggers = {
    redeployment = sha1(jsonencode([
      aws_api_gateway_authorizer.okta,
      aws_api_gateway_method.get_hello,
      aws_api_gateway_integration_response.get_hello,
    ]))
  }
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_stage" "prod" {
  rest_api_id   = aws_api_gateway_rest_api.api.id
  deployment_id = aws_api_gateway_deployment.api.id
  stage_name    = "prod"
}
