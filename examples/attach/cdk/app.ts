// CDK API with okta-authorizer.
import { App, Duration, Fn, Stack } from 'aws-cdk-lib';
import { EndpointType, MockIntegration, RestApi, TokenAuthorizer } from 'aws-cdk-lib/aws-apigateway';
import { Function } from 'aws-cdk-lib/aws-lambda';

const app = new App();
const stack = new Stack(app, 'hello');

const okta = new TokenAuthorizer(stack, 'Okta', {
  // The stack okta-authorizer gives the permission to call the function: see its parameter
  // AttachedApiId.
  handler: Function.fromFunctionAttributes(stack, 'OktaAuthorizer', {
    functionArn: Fn.importValue('okta-authorizer-AuthorizerFunctionArn'),
    skipPermissions: true,
  }),
  validationRegex: '^[Bb]earer [A-Za-z0-9_-]+([.][A-Za-z0-9_-]+){2}$',
  resultsCacheTtl: Duration.seconds(300), // API Gateway caches a policy for this time; 0 for none
});

const api = new RestApi(stack, 'Api', {
  endpointTypes: [EndpointType.REGIONAL],
  cloudWatchRole: false, // a setting of the whole account
  defaultMethodOptions: { authorizer: okta },
});
api.root.resourceForPath('/hello/{uid}').addMethod(
  'GET',
  new MockIntegration({
    requestTemplates: { 'application/json': '{"statusCode": 200}' },
    integrationResponses: [{ statusCode: '200', responseTemplates: { 'application/json': '{"message": "hello"}' } }],
  }),
  { methodResponses: [{ statusCode: '200' }] },
);
