# The files that the command lines work on, made with the real `step`, openssl and ssh-keygen.
printf password > pw; printf other > pw2; : > empty; echo junk > junk; seq 9999 | gzip -n | head -c 3000 > bin; mkdir folder
step crypto jwk create p.pub p.priv --no-password --insecure; step crypto jwk create o.pub o.priv --kty EC --crv P-384 --kid mykid --no-password --insecure
step crypto jwk create j.pub j.priv --password-file pw; step crypto jwk create enc.pub enc.priv --use enc --no-password --insecure
step crypto jwk create rs.pub rs.priv --kty RSA --no-password --insecure; step crypto jwk create re.pub re.priv --kty RSA --use enc --no-password --insecure
step crypto jwk create ok.pub ok.priv --kty OKP --no-password --insecure; step crypto jwk create oct.pub oct.priv --kty oct --no-password --insecure
step crypto jwk create oe.pub oe.priv --kty oct --use enc --no-password --insecure
step crypto keypair k.pub k.pem --no-password --insecure; step crypto keypair r.pub r.pem --kty RSA --no-password --insecure; step crypto keypair e.pub e.pem --password-file pw
step crypto jwk keyset add set < p.pub;step crypto jwk keyset add set < o.pub; step crypto jwk keyset add pset < p.priv
step certificate create leaf leaf.crt leaf.key --profile self-signed --subtle --no-password --insecure
step crypto jwt sign --key p.priv --iss me --aud you --sub him --exp 1999999999 --jti x --nbf 1000 --iat 1000 > t.jwt
step crypto jwt sign --key oct.priv --iss me --aud you --sub him --exp 1999999999 --jti x --nbf 1000 --iat 1000 > h.jwt
step crypto jwt sign --key p.priv --iss me --aud you --sub x --exp 1000 --subtle > old.jwt
step crypto jwt sign --key p.priv --iss me --aud you --sub x --exp 1999999999 --nbf 1999999998 > nbf.jwt
echo -n message | step crypto jws sign --key p.priv > s.jws; echo -n hello | step crypto jwe encrypt --key enc.pub > k.jwe;  step crypto jose format < t.jwt > t.json
ssh-keygen -q -t ed25519 -N '' -f sk; ssh-keygen -q -t rsa -b 2048 -N password -f skp
openssl genpkey -algorithm ed25519 -out ed.pem 2>/dev/null; openssl pkey -in ed.pem -pubout -out ed.pub; openssl pkey -in k.pem -outform DER -out k.der;  openssl pkcs8 -topk8 -in k.pem -passout pass:password -out p8.pem
mkdir -p d/e; echo a > d/a; echo b > d/e/b; chmod 600 d/a; echo text > text
openssl req -new -key k.pem -subj /CN=x -out k.csr; openssl req -x509 -key r.pem -subj /CN=x -days 100 -out r.crt
step crypto key sign text --key k.pem > k.sig; step crypto key sign text --key r.pem > r.sig; step crypto key sign text --key r.pem --pss > rp.sig; step crypto key sign text --key ed.pem > ed.sig
echo -n pass | step crypto kdf hash > scrypt.h; echo -n pass | step crypto kdf hash --alg bcrypt > bcrypt.h;  echo -n pass | step crypto kdf hash --alg argon2id > a2id.h; echo -n pass | step crypto kdf hash --alg argon2i > a2i.h
step crypto nacl box keypair bob.pub bob.priv < /dev/null >/dev/null 2>&1; printf 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=' | base64 -d > k32
step crypto otp generate --issuer i --account a > otp.secret
mkdir -p dsp/config bsp/config csp/authorities/one/config csp/profiles/one/config
echo '{"insecure": true, "no-password": true, "size": 3072, "kty": "RSA", "unknown": 1}' > dsp/config/defaults.json
echo '{nope' > bsp/config/defaults.json
echo '{"one":{"authority":"one","profile":"one"},"two":{"authority":"two","profile":"two"}}' > csp/contexts.json
echo '{"context":"one"}' > csp/current-context.json
echo '{"ca-url": "https://localhost:1", "root": "nofile", "kty": "OKP"}' > csp/authorities/one/config/defaults.json
echo '{"insecure": true, "no-password": true}' > csp/profiles/one/config/defaults.json
echo '{"ca-url": "https://localhost:1", "root": "nofile"}' > alt.json
