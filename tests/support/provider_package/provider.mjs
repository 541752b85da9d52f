// A provider for tests: oidc-provider with its own pages to log in and agree; whoever enters a name is that person.
import Provider from 'oidc-provider';

const { port, client, people } = JSON.parse(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [client],
  pkce: { required: () => true },
  conformIdTokenClaims: false, // claims of scopes in the ID token, as Keycloak and Entra ID have them
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'] },
  cookies: { keys: ['of a test'] },
  features: { devInteractions: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, ...people[id] }) }),
});
provider.listen(port, '127.0.0.1', () => console.log('listening'));
