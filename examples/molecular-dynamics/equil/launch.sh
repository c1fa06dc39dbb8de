#!/bin/bash
python3 doIt.py
