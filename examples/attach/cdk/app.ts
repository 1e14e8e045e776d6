// CDK API with okta-authorizer.
import { App, CfnOutput, Duration, Fn, RemovalPolicy, Stack } from 'aws-cdk-lib';
import {
  AccessLogFormat,
  EndpointType,
  LogGroupLogDestination,
  MockIntegration,
  ResponseType,
  RestApi,
  TokenAuthorizer,
} from 'aws-cdk-lib/aws-apigateway';
import { Function } from 'aws-cdk-lib/aws-lambda';
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs';

const app = new App();
const stack = new Stack(app, 'hello');

const okta = new TokenAuthorizer(stack, 'Okta', {
  // The stack okta-authorizer gives the permission to call the function: see its parameter
  // AttachedApiIds.
  handler: Function.fromFunctionAttributes(stack, 'OktaAuthorizer', {
    functionArn: Fn.importValue('okta-authorizer-AuthorizerFunctionArn'),
    skipPermissions: true,
  }),
  validationRegex: '^[Bb]earer [A-Za-z0-9_-]+([.][A-Za-z0-9_-]+){2}$',
  resultsCacheTtl: Duration.seconds(300), // API Gateway caches a policy for this time; 0 for none
});

const accessLog = new LogGroup(stack, 'AccessLog', {
  retention: RetentionDays.THREE_MONTHS,
  removalPolicy: RemovalPolicy.RETAIN,
});

const api = new RestApi(stack, 'Api', {
  endpointTypes: [EndpointType.REGIONAL],
  // `true` would change the role of the whole account: see "Access logs" in README.md.
  cloudWatchRole: false,
  defaultMethodOptions: { authorizer: okta },
  // CDK adds OPTIONS without an authorizer, because browsers send no token with it.
  defaultCorsPreflightOptions: {
    allowOrigins: ['*'],
    allowHeaders: ['Authorization', 'Content-Type'],
    allowMethods: ['GET', 'OPTIONS'],
    maxAge: Duration.seconds(600),
  },
  deployOptions: {
    // The only record of a 403 from the gateway's cache, because the authorizer is not called.
    accessLogDestination: new LogGroupLogDestination(accessLog),
    accessLogFormat: AccessLogFormat.custom(
      JSON.stringify({
        requestId: '$context.requestId',
        time: '$context.requestTime',
        ip: '$context.identity.sourceIp',
        method: '$context.httpMethod',
        path: '$context.path',
        resource: '$context.resourcePath',
        status: '$context.status',
        principalId: '$context.authorizer.principalId',
        authorizerError: '$context.authorizer.error',
        responseType: '$context.error.responseType',
      }),
    ),
  },
});

// Without these headers a browser reports a CORS error instead of 401 or 403.
const cors = { 'Access-Control-Allow-Origin': "'*'" };
api.addGatewayResponse('Unauthorized', {
  type: ResponseType.UNAUTHORIZED,
  statusCode: '401',
  responseHeaders: {
    ...cors,
    'WWW-Authenticate': "'Bearer'", // RFC 6750, section 3
    'Access-Control-Expose-Headers': "'WWW-Authenticate'",
  },
});
api.addGatewayResponse('AccessDenied', { type: ResponseType.ACCESS_DENIED, statusCode: '403', responseHeaders: cors });
api.addGatewayResponse('Default4xx', { type: ResponseType.DEFAULT_4XX, responseHeaders: cors });
api.addGatewayResponse('Default5xx', { type: ResponseType.DEFAULT_5XX, responseHeaders: cors });

api.root.resourceForPath('/hello/{uid}').addMethod(
  'GET',
  new MockIntegration({
    requestTemplates: { 'application/json': '{"statusCode": 200}' },
    integrationResponses: [
      {
        statusCode: '200',
        responseParameters: { 'method.response.header.Access-Control-Allow-Origin': "'*'" },
        responseTemplates: { 'application/json': '{"message": "hello"}' },
      },
    ],
  }),
  {
    methodResponses: [
      { statusCode: '200', responseParameters: { 'method.response.header.Access-Control-Allow-Origin': false } },
    ],
  },
);

new CfnOutput(stack, 'AccessLogName', { value: accessLog.logGroupName });
