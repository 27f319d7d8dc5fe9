
# Follows the `verify` of docs/api.md: vectors that the signing code's own tests hold too.
SECRET = "whsec_test_0123456789abcdef"
VECTORS = [
    (b"", "814e706027d44b6013448b27b12c76ad281f72d11fcf05d71e1ef85b69465064"),
    (b"{}", "86e42664e55bdef9d21c29ec99ef840bb60f05f718392629bb0eb162a585147e"),
    (b'{"event":"task.completed"}', "8d0c6675b7e092562373565603402b7f7dbda109438f4bfe94a06b0783517889"),
]
T = 1_700_000_000
for body, mac in VECTORS:
    header = f"t={T},v1={mac}"
    assert verify(SECRET, header, body, now=T)
    assert verify(SECRET, header, body, now=T + 300) and verify(SECRET, header, body, now=T - 300)
    assert not verify(SECRET, header, body, now=T + 301), "too old"
    assert not verify(SECRET, header, body + b" ", now=T), "another body"
    assert not verify("whsec_other", header, body, now=T), "another secret"
    assert not verify(SECRET, header.replace(f"t={T}", f"t={T + 1}"), body, now=T), "another time"
    assert verify(SECRET, f"t={T},v1={'0' * 64},v1={mac}", body, now=T), "during a rotation"
for odd in ["", "t=", "v1=", "t=x,v1=y", f"t={T}", None]:
    assert not verify(SECRET, odd, b"{}", now=T), odd
