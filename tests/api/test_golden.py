from support.recorded import *
from support.recorded import differences
import sys, traceback
for rec in ['public','sign-refused','sign-issued','renew','mtls','revoke','crl','bare']:
  for sw in (False,True):
    a = replay(rec, switched=sw)
    for e in load(rec):
        if e.name not in a: continue
        d = differences(e, a[e.name])
        if d: print(rec, sw, '|', e.name, '|', str(d)[:400])
