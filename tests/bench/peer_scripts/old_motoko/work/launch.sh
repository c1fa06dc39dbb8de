before=$EPOCHREALTIME
python -c pass
between=$EPOCHREALTIME
python doIt.py
echo $before $between $EPOCHREALTIME > times
