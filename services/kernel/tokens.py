"""What tokens are known by: identity makes them, and the chain tells them apart and verifies them."""

# Of access tokens (RFC 9068): the claims `iss` and `aud`.
ISSUER = "plinth"
AUDIENCE = "plinth"

# What an API key begins with, and no access token does.
API_KEY_PREFIX = "plk_"
