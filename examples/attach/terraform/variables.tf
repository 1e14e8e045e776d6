# The variables have the names and defaults of the parameters in template.yaml.

variable "zip_path" {
  description = "Path of the release zip for var.architecture. Give this or zip_url."
  type        = string
  default     = null
}

variable "zip_url" {
  description = "URL of the release zip for var.architecture. Give this or zip_path."
  type        = string
  default     = null
}

variable "zip_sha256" {
  description = "SHA-256 of the zip in hexadecimal, from the SHA256SUMS of the release. Required with zip_url."
  type        = string
  default     = null
  validation {
    condition     = var.zip_sha256 == null || can(regex("^[0-9a-f]{64}$", var.zip_sha256))
    error_message = "zip_sha256 must have 64 hexadecimal digits in lower case, as in SHA256SUMS."
  }
}

variable "name" {
  description = "Name of the function, and start of the names of the other resources."
  type        = string
  default     = "okta-authorizer"
}

variable "okta_issuer" {
  description = "Issuer URL of a custom authorization server of Okta, equal to the `iss` of its tokens. Separate several with commas."
  type        = string
  validation {
    condition     = can(regex("^https://[a-z0-9.-]+(:[0-9]+)?/oauth2/[A-Za-z0-9._~-]+(\\s*,\\s*https://[a-z0-9.-]+(:[0-9]+)?/oauth2/[A-Za-z0-9._~-]+)*$", var.okta_issuer))
    error_message = "okta_issuer must be one or more issuers such as https://example.okta.com/oauth2/default, separated by commas."
  }
}

variable "okta_audience" {
  description = "Accepted audiences (`aud`), separated by commas."
  type        = string
  default     = "api://default"
}

variable "okta_allowed_client_ids" {
  description = "Accepted client ids (`cid`), separated by commas. Empty for every client of the issuer."
  type        = string
  default     = ""
}

variable "okta_introspection_client_id" {
  description = "Id of the client that asks Okta whether a token is still active. Empty for no introspection."
  type        = string
  default     = ""
}

variable "okta_introspection_client_secret_arn" {
  description = "ARN of the Secrets Manager secret with the client secret as plain text. Terraform's state then contains the secret. Empty for a public client."
  type        = string
  default     = ""
}

variable "api_key_claim" {
  description = "Claim whose value selects the API key of a usage plan, for example cid. Empty for none."
  type        = string
  default     = ""
}

variable "context_claims" {
  description = "Additional claims for $context.authorizer, separated by commas."
  type        = string
  default     = ""
}

variable "policy_layer_arn" {
  description = "ARN of a layer version with a policy.toml at its root. Empty for the policy.toml of the function."
  type        = string
  default     = ""
}

variable "architecture" {
  description = "Processor architecture of the zip: arm64 or x86_64."
  type        = string
  default     = "arm64"
  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64, and the zip must be of that architecture."
  }
}

variable "memory_size" {
  description = "Memory in MB."
  type        = number
  default     = 256
}

variable "reserved_concurrency" {
  description = "Number of instances that are reserved for the authorizer, and its upper limit. null for none."
  type        = number
  default     = null
}

variable "log_retention_days" {
  description = "Number of days for which the log is kept."
  type        = number
  default     = 90
}

variable "attached_api_ids" {
  description = "Ids of the REST APIs, in this account and region, that may call the function. [\"*\"] for every REST API."
  type        = list(string)
  default     = ["*"]
}

variable "environment" {
  description = "Other environment variables of the function, such as { INVALID_TOKEN_RESPONSE = \"deny\" }. docs/configuration.md lists them."
  type        = map(string)
  default     = {}
}
