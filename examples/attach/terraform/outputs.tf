output "authorizer_uri" {
  description = "The authorizer_uri for a TOKEN authorizer of a REST API."
  value       = aws_lambda_function.authorizer.invoke_arn
}

output "function_arn" {
  description = "The ARN of the function."
  value       = aws_lambda_function.authorizer.arn
}

output "function_name" {
  description = "The name of the function."
  value       = aws_lambda_function.authorizer.function_name
}

output "log_group_name" {
  description = "Log group with decisions, faults and metrics."
  value       = aws_cloudwatch_log_group.authorizer.name
}
