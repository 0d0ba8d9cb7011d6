"""The command `evaluate downstream`: do synthetic images make classifiers better?"""
