//! HTTP messages and codecs, for both sides of the proxy.
