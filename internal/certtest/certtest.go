// Package certtest makes certificates for tests: one for this machine, and
// that of the authority that signed it and no other. Nobody else trusts it.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// Config says what certificate to make.
type Config struct {
	Dir       string    // folder for the files ca.crt, tls.crt and tls.key; must exist. Required
	Name      string    // its name, and that of a host it is for beside 127.0.0.1. Default "test"
	NotBefore time.Time // since when it is good. Default an hour ago
	NotAfter  time.Time // until when. Default in a day
}

// Certificates are an authority's, and what it has signed: for a server and
// for a client alike.
type Certificates struct {
	Pool          *x509.CertPool // trusts the authority alone
	Pair          tls.Certificate
	CA, Cert, Key string // the files, in PEM
}

// New makes an authority and what c asks for.
func New(c Config) (*Certificates, error) {
	if c.Dir == "" {
		return nil, errors.New("certtest: the folder is missing")
	}
	now := time.Now()
	from, until := now.Add(-time.Hour), now.Add(24*time.Hour)
	if c.Name == "" {
		c.Name = "test"
	}
	if c.NotBefore.IsZero() {
		c.NotBefore = from
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = until
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca, err := x509.CreateCertificate(rand.Reader, authority, authority, signer.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("certtest: the authority's certificate: %w", err)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: c.Name}, NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		DNSNames: []string{c.Name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, leaf, authority, private.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("certtest: the certificate for %s: %w", c.Name, err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	made := &Certificates{
		Pool: x509.NewCertPool(), CA: filepath.Join(c.Dir, "ca.crt"), Cert: filepath.Join(c.Dir, "tls.crt"), Key: filepath.Join(c.Dir, "tls.key"),
	}
	for path, block := range map[string]*pem.Block{
		made.CA: {Type: "CERTIFICATE", Bytes: ca}, made.Cert: {Type: "CERTIFICATE", Bytes: cert}, made.Key: {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			return nil, err
		}
	}
	trusted, err := x509.ParseCertificate(ca)
	if err != nil {
		return nil, err
	}
	made.Pool.AddCert(trusted)
	made.Pair, err = tls.LoadX509KeyPair(made.Cert, made.Key)
	return made, err
}
