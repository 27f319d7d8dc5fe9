
// Follows the `verify` of docs/api.md: vectors that the signing code's own tests hold too.
import assert from 'node:assert';
const SECRET = 'whsec_test_0123456789abcdef';
const VECTORS = [
  ['', '814e706027d44b6013448b27b12c76ad281f72d11fcf05d71e1ef85b69465064'],
  ['{}', '86e42664e55bdef9d21c29ec99ef840bb60f05f718392629bb0eb162a585147e'],
  ['{"event":"task.completed"}', '8d0c6675b7e092562373565603402b7f7dbda109438f4bfe94a06b0783517889'],
];
const T = 1700000000;
for (const [text, mac] of VECTORS) {
  const body = Buffer.from(text);
  const header = `t=${T},v1=${mac}`;
  assert(verify(SECRET, header, body, T));
  assert(verify(SECRET, header, body, T + 300) && verify(SECRET, header, body, T - 300));
  assert(!verify(SECRET, header, body, T + 301), 'too old');
  assert(!verify(SECRET, header, Buffer.from(text + ' '), T), 'another body');
  assert(!verify('whsec_other', header, body, T), 'another secret');
  assert(!verify(SECRET, header.replace(`t=${T}`, `t=${T + 1}`), body, T), 'another time');
  assert(verify(SECRET, `t=${T},v1=${'0'.repeat(64)},v1=${mac}`, body, T), 'during a rotation');
}
for (const odd of ['', 't=', 'v1=', 't=x,v1=y', `t=${T}`, undefined]) {
  assert(!verify(SECRET, odd, Buffer.from('{}'), T), String(odd));
}
