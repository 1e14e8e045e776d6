// An OAuth server in Okta's shape: its paths, its claims and its JWKS. `node server.mjs HOST:PORT`.
// `POST /rotate` adds a new signing key and keeps the old one published. `GET /fetches` returns the
// number of requests for the JWKS.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const [host, port] = process.argv[2].split(':');
const claims = {
  '0oaalice': { uid: '00ualice', scp: ['api:read'], groups: ['Everyone'], tenants: ['0oa1:acme:00g1'] },
  '0oaservice': { scp: ['premium_api/read'] },
};

const signingKey = (number) => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  kid: `key-${number}`,
  use: 'sig',
  alg: 'RS256',
});

// A provider reads its keys only once, so other keys need another provider.
const providerWith = (keys) => new Provider(`http://${host}:${port}`, {
  jwks: { keys },
  routes: { token: '/v1/token', jwks: '/v1/keys' },
  clients: Object.keys(claims).map((client_id) => ({
    client_id, client_secret: 'secret', redirect_uris: [], grant_types: ['client_credentials'], response_types: [],
  })),
  extraTokenClaims: (_, token) => ({ ver: 1, cid: token.clientId, ...claims[token.clientId] }),
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'api://default',
      getResourceServerInfo: () => ({
        audience: 'api://default', scope: '', accessTokenFormat: 'jwt', accessTokenTTL: 3600, jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

let keys = [signingKey(1)];
let answer = providerWith(keys).callback();
let fetches = 0;

createServer((request, response) => {
  if (request.url === '/rotate') {
    keys = [signingKey(keys.length + 1), ...keys];
    answer = providerWith(keys).callback();
    response.end();
  } else if (request.url === '/fetches') {
    response.end(String(fetches));
  } else {
    if (request.url === '/v1/keys') fetches += 1;
    answer(request, response);
  }
}).listen(port, host);
