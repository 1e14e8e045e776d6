// A certified OpenID provider in Okta's shape: its paths, its claims, its JWKS. `node server.mjs PORT`, on loopback alone.
// Beside the issuer: `POST /rotate` puts a new key before the old one, `GET /fetches` counts the requests for the JWKS.
import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const port = Number(process.argv[2]);
const mount = '/oauth2/default';
const issuer = `http://127.0.0.1:${port}${mount}`;
const people = {
  'alice@example.com': { uid: '00ualice', groups: ['Everyone'], tenants: ['0oa1:acme:00g1'] },
};

const signingKey = (number) => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  kid: `key-${number}`,
  use: 'sig',
  alg: 'RS256',
});

// A provider reads its keys once: with other keys it is another provider. Its store is the module's, so sessions live on.
const providerWith = (keys) => new Provider(issuer, {
  jwks: { keys },
  cookies: { keys: ['of this run alone'] },
  routes: { authorization: '/v1/authorize', token: '/v1/token', jwks: '/v1/keys', introspection: '/v1/introspect' },
  scopes: ['openid'],
  clients: [
    {
      client_id: '0oaweb', client_secret: 'web-secret', redirect_uris: ['http://127.0.0.1/callback'],
      grant_types: ['authorization_code'], response_types: ['code'],
    },
    {
      client_id: '0oaservice', client_secret: 'service-secret', redirect_uris: [],
      grant_types: ['client_credentials'], response_types: [],
    },
  ],
  findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id }) },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'api://default',
      useGrantedResource: () => true,
      getResourceServerInfo: (_, __, client) => ({
        audience: 'api://default',
        scope: client.clientId === '0oaservice' ? 'premium_api/read' : 'api:read',
        accessTokenFormat: 'jwt',
        accessTokenTTL: 3600,
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
  formats: { customizers: { jwt: (_, token, jwt) => inOktasShape(token, jwt) } },
});

function inOktasShape(token, jwt) {
  const { client_id: cid, scope, jti, sub, ...rest } = jwt.payload;
  const person = people[sub] ?? {};
  const scp = (scope ?? '').split(' ').filter(Boolean);
  jwt.payload = { ver: 1, jti: `AT.${jti}`, ...rest, sub: sub ?? cid, cid, scp, ...person };
}

let keys = [signingKey(1)];
let answer = providerWith(keys).callback();
let fetches = 0;

createServer((request, response) => {
  if (request.method === 'POST' && request.url === '/rotate') {
    keys = [signingKey(keys.length + 1), ...keys];
    answer = providerWith(keys).callback();
    response.end(keys[0].kid);
  } else if (request.url === '/fetches') {
    response.end(String(fetches));
  } else if (request.url.startsWith(`${mount}/`)) {
    request.originalUrl = request.url;
    request.url = request.url.slice(mount.length);
    if (request.url === '/v1/keys') {
      fetches += 1;
      response.setHeader('Cache-Control', 'max-age=3600, must-revalidate');
    }
    answer(request, response);
  } else {
    response.writeHead(404).end();
  }
}).listen(port, '127.0.0.1');
