//! TLS as a client: whose certificates are trusted, and the settings that follow.
//!
//! It opens no connection and decides nothing about names: that is the caller's.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Returns the authorities of a PEM file; without one those of the public web.
///
/// # Errors
/// One line that names the file, when it can't be read or holds no certificate that could sign another.
pub fn authorities(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let Some(path) = file else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let unusable = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| unusable(&error))? {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    match roots.is_empty() {
        true => Err(unusable(&"it holds no certificate")),
        false => Ok(roots),
    }
}

/// Makes the settings of a client that trusts the [`authorities`] and checks the server's name.
///
/// # Errors
/// As for [`authorities`].
pub fn client(file: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let roots = authorities(file)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_named_and_refused() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("ca.pem");
        let check = |text: &str, why: &str| {
            std::fs::write(&path, text).unwrap();
            let error = client(Some(&path)).unwrap_err();
            assert!(error.contains("ca.pem") && error.contains(why), "{error}");
        };
        check("", "it holds no certificate");
        check("nothing of the kind", "it holds no certificate");
        let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        check(broken, "base64");
        let other = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        check(other, "certificate");
        std::fs::remove_file(&path).unwrap();
        assert!(client(Some(&path)).unwrap_err().contains("ca.pem"));
        assert!(client(None).is_ok());
    }
}
