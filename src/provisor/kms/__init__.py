"""Where private keys live and what signs with them."""
