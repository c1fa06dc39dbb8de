import time

import BlackDynamite as BD

run, job = BD.getRunFromScript()
run.start()
run.pushScalarQuantity(1.0, 1, "y")
with open("said", "w") as file:
    file.write(repr(time.time()))
run.finish()
